"""The fingerprint of a run: machine, Python, every installed version, and the code that was measured."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import perf
from perf.errors import ServiceUnavailableError
from perf.services import git
from perf.services.build import installed_build

NAMED_PACKAGES = ("lionagi", "pydantic", "openai", "redis")
"""The dependencies most likely to move a figure; reports name their versions."""

SUITE = Path(perf.__file__).parent.parent
"""The suite's own repository, where it is installed as editable."""


def fingerprint() -> dict[str, Any]:
    """Return what must be equal, or named as a difference, for two runs to be compared."""
    memory = psutil.virtual_memory().total
    return {
        "machine": {
            "node": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "architecture": platform.machine(),
            "cpu": _cpu_model(),
            "cpus": os.cpu_count(),
            "memory_bytes": memory,
        },
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": dict(sorted(_packages().items())),
        "khive": _khive(),
        "suite": {
            "version": metadata.version("khive-performance-suite"),
            "commit": git.commit(SUITE) if (SUITE / ".git").exists() else None,
        },
    }


def _packages() -> dict[str, str]:
    """Return every installed version; of a package installed twice, the one that is imported: the first found."""
    found = [(dist.name.lower(), dist.version) for dist in metadata.distributions() if dist.name]
    return dict(reversed(found))


def _khive() -> dict[str, str | None] | None:
    try:
        build = installed_build()
    except ServiceUnavailableError:
        return None
    return {"version": build.version, "origin": build.origin, "commit": build.commit}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
