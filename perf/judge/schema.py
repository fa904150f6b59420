"""What `thresholds.toml` may hold, and every mistake in one that holds something else."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

FILE = "thresholds.toml"
PROFILES = ("dev", "staging", "prod")

KNOWN_LIMITS: dict[str, dict[str, str]] = {
    "orchestration": {
        "simple_operation_ms": "PERF_ORCHESTRATION_SIMPLE_MS",
        "complex_operation_ms": "PERF_ORCHESTRATION_COMPLEX_MS",
        "memory_limit_mb": "PERF_ORCHESTRATION_MEMORY_MB",
        "throughput_ops_per_sec": "PERF_ORCHESTRATION_THROUGHPUT_OPS",
    },
    "planning": {
        "simple_plan_ms": "PERF_PLANNING_SIMPLE_MS",
        "complex_plan_ms": "PERF_PLANNING_COMPLEX_MS",
        "memory_limit_mb": "PERF_PLANNING_MEMORY_MB",
        "throughput_ops_per_sec": "PERF_PLANNING_THROUGHPUT_OPS",
    },
    "session": {
        "session_create_ms": "PERF_SESSION_CREATE_MS",
        "session_load_ms": "PERF_SESSION_LOAD_MS",
        "memory_per_session_mb": "PERF_SESSION_MEMORY_MB",
        "concurrent_sessions": "PERF_CONCURRENT_SESSIONS",
    },
    "artifacts": {
        "file_read_ms": "PERF_ARTIFACTS_READ_MS",
        "file_write_ms": "PERF_ARTIFACTS_WRITE_MS",
        "memory_limit_mb": "PERF_ARTIFACTS_MEMORY_MB",
        "throughput_ops_per_sec": "PERF_ARTIFACTS_THROUGHPUT_OPS",
    },
    "cache": {
        "cache_get_ms": "PERF_CACHE_GET_MS",
        "cache_set_ms": "PERF_CACHE_SET_MS",
        "memory_limit_mb": "PERF_CACHE_MEMORY_MB",
        "throughput_ops_per_sec": "PERF_CACHE_THROUGHPUT_OPS",
    },
}
"""The limits of khive's services and the short variable of each; `PERF_<SERVICE>_<LIMIT>` in full works too."""

_SUFFIXES = ("_ms", "_mb", "_ops_per_sec", "_overhead")
_LARGEST = 1e12
_A_SLIP = 0.85
_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be: a test and the words for it."""

    accepts: Callable[[Any], bool]
    words: str


def _whole(value: Any) -> bool:  # noqa: ANN401 - anything TOML holds
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST


NUMBER = Kind(_number, "a finite number, 0 or more")
_COUNT = Kind(lambda value: _whole(value) and value >= 1, "a whole number, 1 or more")
_SECONDS = Kind(lambda value: _number(value) and value > 0, "a number of seconds above 0")
_COUNTS = Kind(
    lambda value: isinstance(value, list) and bool(value) and all(_whole(one) and one >= 1 for one in value),
    "a list of whole numbers, 1 or more",
)
_TEXT = Kind(lambda value: isinstance(value, str) and bool(value), "a text")
_CONFIDENCE = Kind(lambda value: _number(value) and 0.5 < value < 1, "a number between 0.5 and 1, such as 0.99")  # noqa: PLR2004
_REDIS = Kind(
    lambda value: isinstance(value, str) and (value in {"installed", "bundled"} or "://" in value),
    '"installed", "bundled" or a URL',
)
_DEPENDENCIES = Kind(lambda value: value in ("floating", "pinned"), '"floating" or "pinned"')

SECTIONS: dict[str, dict[str, Kind]] = {
    "measure": {
        "rounds": _COUNT,
        "seconds_per_benchmark": _SECONDS,
        "concurrency": _COUNTS,
        "operations_per_step": _COUNT,
        "memory_operations": _COUNT,
        "memory_seconds": _SECONDS,
        "processes": _COUNT,
        "stress_workers": _COUNT,
        "stress_duration_sec": _SECONDS,
    },
    "environment": {
        "khive": _TEXT,
        "dependencies": _DEPENDENCIES,
        "redis": _REDIS,
        "model_latency_sec": NUMBER,
    },
    "regression": {
        "tolerance": NUMBER,
        "confidence": _CONFIDENCE,
    },
}


def faults(document: Mapping[str, Any]) -> Iterator[str]:
    """Give a line for every key of the file at fault, with the nearest right key."""
    layers = layers_of(document)
    yield from _check_document(document)
    yield from _check_layers(layers)
    for name, kinds in SECTIONS.items():
        for key in kinds:
            if key not in as_table(as_table(layers["defaults"]).get(name)):
                yield f"{FILE}: defaults.{name}.{key}: missing; it must be {kinds[key].words}"


def layers_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables that settings are laid together from, by name: "defaults", "profiles.dev" and so on."""
    profiles = {f"profiles.{name}": part for name, part in as_table(document.get("profiles")).items()}
    return {"defaults": document.get("defaults", {}), **profiles}


def _check_document(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(document, ("defaults", "profiles"), "")
    profiles = document.get("profiles", {})
    if isinstance(profiles, dict):
        yield from _unknown(profiles, PROFILES, "profiles")
    else:
        yield f"{FILE}: profiles: must be a table"


def _check_layers(layers: Mapping[str, Any]) -> Iterator[str]:
    declared = as_table(as_table(layers["defaults"]).get("limits"))
    for layer, part in layers.items():
        if not isinstance(part, dict):
            yield f"{FILE}: {layer}: must be a table"
            continue
        yield from _unknown(part, ("limits", *SECTIONS), layer)
        for name, kinds in SECTIONS.items():
            yield from _check_section(part.get(name, {}), kinds, f"{layer}.{name}")
        yield from _check_limits(part.get("limits", {}), declared, f"{layer}.limits")


def _check_section(table: Any, kinds: Mapping[str, Kind], path: str) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(table, dict):
        yield f"{FILE}: {path}: must be a table"
        return
    yield from _unknown(table, kinds, path)
    for key, value in table.items():
        if key in kinds and not kinds[key].accepts(value):
            yield f"{FILE}: {path}.{key}: must be {kinds[key].words}, not {value!r}"


def _check_limits(tables: Any, declared: Mapping[str, Any], path: str) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(tables, dict):
        yield f"{FILE}: {path}: must be a table of services"
        return
    for service, table in tables.items():
        names = _names(service, declared)
        if service not in KNOWN_LIMITS and (near := nearest(service, KNOWN_LIMITS)):
            yield f"{FILE}: {path}.{service}: unknown service{near}"
        elif not isinstance(table, dict):
            yield f"{FILE}: {path}.{service}: must be a table of limits"
        else:
            for name, value in table.items():
                yield from _check_limit(name, value, names, f"{path}.{service}.{name}")


def _check_limit(name: str, value: Any, names: Iterable[str], path: str) -> Iterator[str]:  # noqa: ANN401
    if name not in names:
        yield f"{FILE}: {path}: unknown limit{nearest(name, names) or f'; a limit ends in {_SUFFIXES}'}"
    elif isinstance(value, dict) and name.endswith("_ms"):
        yield from _unknown(value, _PERCENTILES, path)
        for key, bound in value.items():
            if key in _PERCENTILES and not _number(bound):
                yield f"{FILE}: {path}.{key}: must be {NUMBER.words}, not {bound!r}"
        if not value:
            yield f"{FILE}: {path}: names no percentile; one or more of {', '.join(_PERCENTILES)}"
    elif not _number(value):
        yield f"{FILE}: {path}: must be {NUMBER.words}, not {value!r}"


def _names(service: str, declared: Mapping[str, Any]) -> list[str]:
    """Return the limits a service may have: those known of khive's services, and what `[defaults]` declares.

    What is declared for a service of khive's must not be a slip of one that is known.
    """
    known = KNOWN_LIMITS.get(service, {})
    own = [name for name in as_table(declared.get(service)) if name.endswith(_SUFFIXES)]
    return [*known, *(name for name in own if not difflib.get_close_matches(name, known, cutoff=_A_SLIP))]


def _unknown(table: Mapping[str, Any], known: Iterable[str], path: str) -> Iterator[str]:
    known = list(known)
    for key in table:
        if key not in known:
            where = f"{path}.{key}" if path else key
            yield f"{FILE}: {where}: unknown key{nearest(key, known) or '; one of ' + ', '.join(known)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" with the word of `known` most like `word`, nothing when none is."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def as_table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - anything TOML holds
    """Return `value` if it is a table, else an empty one: that it is none is a fault of its own."""
    return value if isinstance(value, dict) else {}
