"""The resident memory of this process, and the free memory within it given back to the system."""

from __future__ import annotations

import ctypes

import psutil


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return psutil.Process().memory_info().rss


def give_back() -> None:
    """Return the allocator's free memory to the system, where the C library can (glibc's malloc_trim)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
