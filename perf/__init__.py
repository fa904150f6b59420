"""Khive Performance Suite: the public names. They load when first used, so importing `perf` is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf.errors import PerfError
    from perf.judge.comparison import Comparison, compare_samples
    from perf.judge.history import ChangePoint, change_points
    from perf.judge.leaks import judge_growth
    from perf.judge.regression import RegressionDetector
    from perf.measure.load import LoadTestRunner
    from perf.measure.memory import MemoryMonitor
    from perf.measure.profiler import PerformanceProfiler
    from perf.record.benchmark import PerformanceBenchmark
    from perf.record.storage import BenchmarkStorage

__all__ = [
    "BenchmarkStorage",
    "ChangePoint",
    "Comparison",
    "LoadTestRunner",
    "MemoryMonitor",
    "PerfError",
    "PerformanceBenchmark",
    "PerformanceProfiler",
    "RegressionDetector",
    "change_points",
    "compare_samples",
    "judge_growth",
]

_HOMES = {
    "BenchmarkStorage": "perf.record.storage",
    "ChangePoint": "perf.judge.history",
    "Comparison": "perf.judge.comparison",
    "PerformanceBenchmark": "perf.record.benchmark",
    "RegressionDetector": "perf.judge.regression",
    "change_points": "perf.judge.history",
    "compare_samples": "perf.judge.comparison",
    "judge_growth": "perf.judge.leaks",
    "LoadTestRunner": "perf.measure.load",
    "MemoryMonitor": "perf.measure.memory",
    "PerfError": "perf.errors",
    "PerformanceProfiler": "perf.measure.profiler",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'perf' has no attribute {name!r}")
