"""A copy of khive 0.4.0 in which a few functions take a known share longer, in real time, and nothing else differs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_COORDINATOR = "services/artifacts/handlers/handoff_coordinator.py"
_ORCHESTRATOR = "services/orchestration/orchestrator.py"
SLOWED = {
    _COORDINATOR: [
        "HandoffCoordinator.build_dependency_graph",
        "HandoffCoordinator.load_artifact_registry",
        "HandoffCoordinator.save_artifact_registry",
    ],
    "services/artifacts/handlers/timeout_manager.py": ["TimeoutManager.execute_with_timeout"],
    _ORCHESTRATOR: ["LionOrchestrator.initialize", "LionOrchestrator.create_cc_branch"],
    "services/plan/planner_service.py": ["OrchestrationPlanner.build_consensus"],
    "services/plan/parts.py": ["PlannerResponse.model_validate_json", "PlannerResponse.model_dump_json"],
    "utils.py": ["safe_read_file", "safe_write_file"],
}
"""What is slowed, by module of khive: each is all, or nearly all, that its benchmarks time.

But for the two of `PlannerResponse`, which are a small part of an operation on Redis: they wait for a share of what the
whole operation takes, from one call of them to the next.
"""

_SOURCE = """
import inspect
import time
from functools import wraps

SHARE = {share!r}


def _wait(seconds, start):
    while time.perf_counter() - start < seconds:
        pass


def slow(function):
    if inspect.iscoroutinefunction(function):
        @wraps(function)
        async def slower(*args, **kwargs):
            start = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                _wait(took * (1 + SHARE) - OVERHEAD, start)
    else:
        @wraps(function)
        def slower(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                _wait(took * (1 + SHARE) - OVERHEAD, start)
    return slower


def slow_cycle(function):
    last, usual = 0.0, float("inf")

    @wraps(function)
    def slower(*args, **kwargs):
        nonlocal last, usual
        start = time.perf_counter()
        usual = min(1.002 * usual, start - last) if last else usual
        last = start
        result = function(*args, **kwargs)
        if usual < 1:
            _wait(usual * SHARE / (1 + SHARE) - OVERHEAD, time.perf_counter())
        return result
    return slower


def _overhead():
    def nothing():
        pass
    def of(function):
        times = []
        for _ in range(50):
            start = time.perf_counter()
            for _ in range(200):
                function()
            times.append((time.perf_counter() - start) / 200)
        return min(times)
    return of(slow(nothing)) - of(nothing)


OVERHEAD = 0.0
OVERHEAD = _overhead()
"""

_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "khive"
version = "0.4.0+slowed{percent}"
requires-python = ">=3.10"
dependencies = {dependencies}

[tool.hatch.build.targets.wheel]
packages = ["khive"]
"""


def write_slowed(installed: Path, folder: Path, share: float) -> Path:
    """Write a project to `folder` that is the khive in the site-packages `installed`, slowed by `share`."""
    metadata = next(installed.glob("khive-0.4.0.dist-info/METADATA")).read_text("utf-8")
    requirements = [
        line.partition(":")[2].strip()
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    shutil.copytree(installed / "khive", folder / "khive", ignore=shutil.ignore_patterns("__pycache__"))
    percent = round(1000 * share)
    (folder / "pyproject.toml").write_text(_PROJECT.format(percent=percent, dependencies=requirements), "utf-8")
    (folder / "khive" / "_slowed.py").write_text(_SOURCE.replace("{share!r}", repr(share)), "utf-8")
    for module, names in SLOWED.items():
        with (folder / "khive" / module).open("a", encoding="utf-8") as file:
            file.write("\n\nfrom khive._slowed import slow, slow_cycle\n\n")
            file.writelines(_line(name) for name in names)
    return folder


def _line(name: str) -> str:
    if name.endswith("model_validate_json"):
        return f"{name} = staticmethod(slow_cycle({name}))\n"
    return f"{name} = {'slow_cycle' if name.endswith('model_dump_json') else 'slow'}({name})\n"
