"""Synthetic saved runs: whole pytest-benchmark documents with our part, as a measuring session leaves them.

`write_run(folder, number=7, times={"cache_get[1KiB]": [0.001, 0.0011]}, loads={("cache_get", 5): {"throughput": 9}})`
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from perf.record.run import FORMAT, SECTION, LimitInForce, Measurement, Metric, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMIT = "b22cb51d4ac5"
CREATED = "2026-11-24T12:01:13+00:00"
MACHINE = {
    "node": "vm",
    "system": "Linux 6.18.44",
    "architecture": "x86_64",
    "cpu": "AMD EPYC",
    "cpus": 2,
    "memory_bytes": 25276502016,
}
SETTINGS = {"measure.rounds": 25, "measure.concurrency": [1, 5], "environment.redis": "installed"}
PACKAGES = {"lionagi": "0.15.11", "pydantic": "2.12.4", "redis": "7.1.0"}
KHIVE = {"version": "0.4.0", "origin": "release", "commit": None}
TIMES = {"cache_get[1KiB]": (0.0010, 0.0011, 0.0012), "planning_simple": (0.10, 0.12, 0.11)}


def write_run(folder: Path, *, number: int = 1, name: str | None = None, **parts: Any) -> Path:  # noqa: ANN401
    """Write the `document` of `parts` to `folder`, as the store names it (or as `name`), and return its path."""
    run = document(**parts)
    section = run[SECTION]
    time = section["created"][:19].replace("-", "").replace(":", "")
    commit = (section["environment"]["suite"]["commit"] or "no-commit").partition(" ")[0]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"{number:04}_{section['profile']}_{time}_{commit}.json")
    path.write_bytes(msgspec.json.encode(run))
    return path


def document(  # noqa: PLR0913 - each is one thing a test may want otherwise
    *,
    profile: str = "dev",
    commit: str | None = COMMIT,
    created: str = CREATED,
    verdict: str = "passed",
    times: Mapping[str, Sequence[float]] = TIMES,
    recorded: Mapping[str, Sequence[float]] | None = None,
    loads: Mapping[tuple[str, int], Mapping[str, float]] | None = None,
    memories: Mapping[str, Mapping[str, float]] | None = None,
    limits: Sequence[LimitInForce] = (),
    failures: Sequence[Mapping[str, Any]] = (),
    machine: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    packages: Mapping[str, str] | None = None,
    khive: Mapping[str, Any] | None = None,
    python: str = "CPython 3.11.7",
    untimed: str | None = None,
) -> dict[str, Any]:
    """Return a whole document of pytest-benchmark with our part; what is given replaces what is usual.

    `times` are rounds in seconds by name (`cache_get[1KiB]`) as pytest-benchmark saves them, `recorded` those of
    the profiler, `loads` metrics by operation and concurrency, `memories` metrics by operation; the service is the
    name up to its first underscore, the unit of a metric what its name says. `machine`, `settings`, `packages` and
    `khive` replace single entries of the usual ones.
    """
    measurements = [
        *(_measurement("latency", name, samples=list(rounds)) for name, rounds in (recorded or {}).items()),
        *(_measurement("load", name, tasks, metrics=_metrics(of)) for (name, tasks), of in (loads or {}).items()),
        *(_measurement("memory", name, metrics=_metrics(of)) for name, of in (memories or {}).items()),
    ]
    return {
        "machine_info": {"node": "vm", "system": "Linux", "machine": "x86_64", "cpu": {"brand_raw": "AMD EPYC"}},
        "commit_info": {"id": commit, "dirty": False, "project": "khive", "branch": "main"},
        "benchmarks": [_benchmark(name, rounds) for name, rounds in times.items()],
        "datetime": created,
        "version": "5.3.1",
        SECTION: {
            "format": FORMAT,
            "created": created,
            "profile": profile,
            "verdict": verdict,
            "environment": {
                "machine": {**MACHINE, **(machine or {})},
                "python": python,
                "packages": {**PACKAGES, **(packages or {})},
                "khive": {**KHIVE, **(khive or {})},
                "suite": {"version": "0.1.0", "commit": commit},
                "services": ["Redis 6.2.14, bundled, started for this run"],
            },
            "settings": {
                key: {"value": value, "source": "thresholds.toml [defaults]"}
                for key, value in {**SETTINGS, **(settings or {})}.items()
            },
            "limits": msgspec.to_builtins(list(limits)),
            "measurements": msgspec.to_builtins(measurements),
            "failures": list(failures),
            "untimed": untimed,
        },
    }


def _service(name: str) -> str:
    return name.partition("_")[0]


def _test(name: str) -> str:
    return f"benchmarks/test_{_service(name)}_performance.py::test_{name}"


def _measurement(kind: str, name: str, concurrency: int = 1, **parts: Any) -> Measurement:  # noqa: ANN401
    operation = name.partition("[")[0]
    test = f"{_test(name)}_at_once[{concurrency}]" if kind == "load" else _test(name)
    origin = Origin(test=test, service=_service(name), category="benchmark", operation=operation)
    return Measurement(
        origin=origin, kind=kind, operation=operation, subject=f"{operation}, made up", concurrency=concurrency, **parts
    )


def _metrics(values: Mapping[str, float]) -> dict[str, Metric]:
    return {name: Metric(float(value), *_unit(name)) for name, value in values.items()}


def _unit(name: str) -> tuple[str, str]:
    if name == "throughput":
        return "1/s", "higher"
    if "memory" in name:
        return "B", "lower"
    if "time" in name or name == "gc_pause":
        return "s", "lower"
    return "1", "lower" if name in {"error_rate", "failed_operations"} else "higher"


def _benchmark(name: str, rounds: Sequence[float]) -> dict[str, Any]:
    operation, _, params = name.partition("[")
    return {
        "group": _service(name),
        "name": f"test_{name}",
        "fullname": _test(name),
        "params": {"of": params.removesuffix("]")} if params else None,
        "param": params.removesuffix("]") or None,
        "extra_info": {
            "service": _service(name),
            "category": "benchmark",
            "operation": operation,
            "subject": f"{operation}, made up",
        },
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 25, "max_time": 0.25, "warmup": False},
        "stats": _stats(rounds),
    }


def _stats(rounds: Sequence[float]) -> dict[str, Any]:
    """Return what pytest-benchmark keeps of rounds, its quartiles and outliers by rough rules: nothing reads them."""
    ordered = sorted(rounds)
    count, total = len(ordered), math.fsum(ordered)
    mean = total / count
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    q1, q3 = ordered[count // 4], ordered[3 * count // 4]
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in ordered) / max(count - 1, 1))
    return {
        "min": ordered[0], "max": ordered[-1], "mean": mean, "stddev": spread, "rounds": count, "median": median,
        "iqr": q3 - q1, "q1": q1, "q3": q3, "iqr_outliers": 0, "stddev_outliers": 0, "outliers": "0;0",
        "ld15iqr": ordered[0], "hd15iqr": ordered[-1], "ops": 1 / mean if mean else 0.0, "total": total,
        "iterations": 1, "data": list(rounds),
    }  # fmt: skip
