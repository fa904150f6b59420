"""Khive Performance Suite: the public names. They load when first used, so importing `perf` is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf.errors import PerfError
    from perf.measure.load import LoadTestRunner
    from perf.measure.memory import MemoryMonitor
    from perf.measure.profiler import PerformanceProfiler

__all__ = ["LoadTestRunner", "MemoryMonitor", "PerfError", "PerformanceProfiler"]

_HOMES = {
    "LoadTestRunner": "perf.measure.load",
    "MemoryMonitor": "perf.measure.memory",
    "PerfError": "perf.errors",
    "PerformanceProfiler": "perf.measure.profiler",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'perf' has no attribute {name!r}")
