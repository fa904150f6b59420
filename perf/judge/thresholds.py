"""Read `thresholds.toml` and the `PERF_*` variables into settings in which every value knows its source.

Command line > `PERF_*` variable > the profile's table > `[defaults]`. Nothing here reads a file: text and
variables are arguments. Every mistake is found before one error names them all.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perf.errors import SettingsError
from perf.units import MIB, MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

FILE = "thresholds.toml"
PROFILES = ("dev", "staging", "prod")

KNOWN_LIMITS: dict[str, dict[str, tuple[str, ...]]] = {
    "orchestration": {
        "simple_operation_ms": ("PERF_ORCHESTRATION_SIMPLE_MS",),
        "complex_operation_ms": ("PERF_ORCHESTRATION_COMPLEX_MS",),
        "memory_limit_mb": ("PERF_ORCHESTRATION_MEMORY_MB",),
        "throughput_ops_per_sec": ("PERF_ORCHESTRATION_THROUGHPUT_OPS",),
    },
    "planning": {
        "simple_plan_ms": ("PERF_PLANNING_SIMPLE_MS",),
        "complex_plan_ms": ("PERF_PLANNING_COMPLEX_MS",),
        "memory_limit_mb": ("PERF_PLANNING_MEMORY_MB",),
        "throughput_ops_per_sec": ("PERF_PLANNING_THROUGHPUT_OPS",),
    },
    "session": {
        "session_create_ms": ("PERF_SESSION_CREATE_MS",),
        "session_load_ms": ("PERF_SESSION_LOAD_MS",),
        "memory_per_session_mb": ("PERF_SESSION_MEMORY_MB",),
        "concurrent_sessions": ("PERF_CONCURRENT_SESSIONS",),
    },
    "artifacts": {
        "file_read_ms": ("PERF_ARTIFACTS_READ_MS",),
        "file_write_ms": ("PERF_ARTIFACTS_WRITE_MS",),
        "memory_limit_mb": ("PERF_ARTIFACTS_MEMORY_MB",),
        "throughput_ops_per_sec": ("PERF_ARTIFACTS_THROUGHPUT_OPS",),
    },
    "cache": {
        "cache_get_ms": ("PERF_CACHE_GET_MS",),
        "cache_set_ms": ("PERF_CACHE_SET_MS",),
        "memory_limit_mb": ("PERF_CACHE_MEMORY_MB",),
        "throughput_ops_per_sec": ("PERF_CACHE_THROUGHPUT_OPS",),
    },
}
"""The limits of khive's services and the short variable of each; `PERF_<SERVICE>_<LIMIT>` in full works too."""

_SUFFIXES = ("_ms", "_mb", "_ops_per_sec")
_OURS = ("PERF_STRESS_", "PERF_CONCURRENT_")
_LARGEST = 1e12
_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One bound. `statistic` is "p95" and the like, "growth", "per operation", "throughput" or "count".

    `bound` is seconds, bytes, operations per second or a bare number. `operation` is None where the whole
    service is meant.
    """

    service: str
    name: str
    operation: str | None
    statistic: str
    bound: float
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sourced:
    """A setting's value and where it was set."""

    value: Any
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What one profile asks for: its limits, how hard to measure, and the environment to measure in."""

    profile: str
    limits: tuple[Limit, ...]
    measure: Mapping[str, Sourced]
    environment: Mapping[str, Sourced]
    numbers: Mapping[str, Mapping[str, float]]
    """Service to limit name to its number as written (milliseconds, MiB); a table counts as its highest percentile."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a setting may be: a test and the words for it."""

    accepts: Callable[[Any], bool]
    words: str


def _whole(value: Any) -> bool:  # noqa: ANN401 - anything TOML holds
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST


_NUMBER = _Kind(_number, "a finite number, 0 or more")
_COUNT = _Kind(lambda value: _whole(value) and value >= 1, "a whole number, 1 or more")
_SECONDS = _Kind(lambda value: _number(value) and value > 0, "a number of seconds above 0")
_COUNTS = _Kind(
    lambda value: isinstance(value, list) and bool(value) and all(_whole(one) and one >= 1 for one in value),
    "a list of whole numbers, 1 or more",
)
_TEXT = _Kind(lambda value: isinstance(value, str) and bool(value), "a text")
_REDIS = _Kind(
    lambda value: isinstance(value, str) and (value in {"installed", "bundled"} or "://" in value),
    '"installed", "bundled" or a URL',
)
_DEPENDENCIES = _Kind(lambda value: value in ("floating", "pinned"), '"floating" or "pinned"')

_SECTIONS: dict[str, dict[str, _Kind]] = {
    "measure": {
        "rounds": _COUNT,
        "seconds_per_benchmark": _SECONDS,
        "concurrency": _COUNTS,
        "operations_per_step": _COUNT,
        "memory_operations": _COUNT,
        "stress_workers": _COUNT,
        "stress_duration_sec": _SECONDS,
    },
    "environment": {
        "khive": _TEXT,
        "dependencies": _DEPENDENCIES,
        "redis": _REDIS,
        "model_latency_sec": _NUMBER,
    },
}
_VARIABLES = {"PERF_STRESS_DURATION_SEC": ("measure", "stress_duration_sec")}
_ELSEWHERE = ("PERF_REDIS_URL", "PERF_MODEL_URL")  # read where a server is chosen, in perf.services


def resolve(text: str, environ: Mapping[str, str], profile: str = "dev") -> Settings:
    """Return the settings of `profile` from the text of `thresholds.toml` and the variables.

    Raises SettingsError with a line for every key at fault, in any profile, and the nearest right key.
    """
    if profile not in PROFILES:
        raise SettingsError(f"profile {profile!r}: unknown{_nearest(profile, PROFILES)}; one of {', '.join(PROFILES)}")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, tables nested without end
        raise SettingsError(f"{FILE}: {error}") from None
    layers = _layers(document)
    chosen = {f"{FILE} [{name}]": layers.get(name, {}) for name in ("defaults", f"profiles.{profile}")}
    limits = _merge_limits(chosen)
    sections = {name: _merge_section(name, chosen) for name in _SECTIONS}
    faults = [
        *_check_document(document),
        *_check_layers(layers),
        *_missing(sections),
        *_apply_variables(environ, limits, sections),
    ]
    if faults:
        raise SettingsError("\n".join(faults))
    return Settings(
        profile=profile,
        limits=tuple(_limits(limits)),
        measure=sections["measure"],
        environment=sections["environment"],
        numbers={
            service: {name: _single(sourced.value) for name, sourced in table.items()}
            for service, table in limits.items()
        },
    )


# Reading the file


def _layers(document: Mapping[str, Any]) -> dict[str, Any]:
    profiles = {f"profiles.{name}": table for name, table in _table(document.get("profiles")).items()}
    return {"defaults": document.get("defaults", {}), **profiles}


def _check_document(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(document, ("defaults", "profiles"), "")
    profiles = document.get("profiles", {})
    if isinstance(profiles, dict):
        yield from _unknown(profiles, PROFILES, "profiles")
    else:
        yield f"{FILE}: profiles: must be a table"


def _check_layers(layers: Mapping[str, Any]) -> Iterator[str]:
    declared = _table(_table(layers["defaults"]).get("limits"))
    for layer, table in layers.items():
        if not isinstance(table, dict):
            yield f"{FILE}: {layer}: must be a table"
            continue
        yield from _unknown(table, ("limits", *_SECTIONS), layer)
        for name, kinds in _SECTIONS.items():
            yield from _check_section(table.get(name, {}), kinds, f"{layer}.{name}")
        yield from _check_limits(table.get("limits", {}), declared, f"{layer}.limits")


def _check_section(table: Any, kinds: Mapping[str, _Kind], path: str) -> Iterator[str]:  # noqa: ANN401
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
        if service not in KNOWN_LIMITS and (near := _nearest(service, KNOWN_LIMITS)):
            yield f"{FILE}: {path}.{service}: unknown service{near}"
        elif not isinstance(table, dict):
            yield f"{FILE}: {path}.{service}: must be a table of limits"
        else:
            for name, value in table.items():
                yield from _check_limit(name, value, names, f"{path}.{service}.{name}")


def _check_limit(name: str, value: Any, names: Iterable[str], path: str) -> Iterator[str]:  # noqa: ANN401
    if name not in names:
        yield f"{FILE}: {path}: unknown limit{_nearest(name, names) or f'; a limit ends in {_SUFFIXES}'}"
    elif isinstance(value, dict) and name.endswith("_ms"):
        yield from _unknown(value, _PERCENTILES, path)
        for key, bound in value.items():
            if key in _PERCENTILES and not _number(bound):
                yield f"{FILE}: {path}.{key}: must be {_NUMBER.words}, not {bound!r}"
        if not value:
            yield f"{FILE}: {path}: names no percentile; one or more of {', '.join(_PERCENTILES)}"
    elif not _number(value):
        yield f"{FILE}: {path}: must be {_NUMBER.words}, not {value!r}"


def _names(service: str, declared: Mapping[str, Any]) -> list[str]:
    """Return the limits a service may have: khive's services have theirs, a user's own what `[defaults]` declares."""
    if service in KNOWN_LIMITS:
        return list(KNOWN_LIMITS[service])
    return [name for name in _table(declared.get(service)) if name.endswith(_SUFFIXES)]


def _unknown(table: Mapping[str, Any], known: Iterable[str], path: str) -> Iterator[str]:
    known = list(known)
    for key in table:
        if key not in known:
            where = f"{path}.{key}" if path else key
            yield f"{FILE}: {where}: unknown key{_nearest(key, known) or '; one of ' + ', '.join(known)}"


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


# Putting the layers together


def _merge_limits(layers: Mapping[str, Any]) -> dict[str, dict[str, Sourced]]:
    """Lay the tables of limits over each other; what is no table is a fault, found elsewhere, and passed over."""
    merged: dict[str, dict[str, Sourced]] = {}
    for source, layer in layers.items():
        for service, table in _table(_table(layer).get("limits")).items():
            entries = {name: Sourced(value=value, source=source) for name, value in _table(table).items()}
            merged.setdefault(service, {}).update(entries)
    return merged


def _merge_section(name: str, layers: Mapping[str, Any]) -> dict[str, Sourced]:
    merged: dict[str, Sourced] = {}
    for source, layer in layers.items():
        section = _table(_table(layer).get(name))
        merged |= {key: Sourced(value=value, source=source) for key, value in section.items()}
    return merged


def _table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - anything TOML holds
    return value if isinstance(value, dict) else {}


def _missing(sections: Mapping[str, Mapping[str, Sourced]]) -> Iterator[str]:
    for name, kinds in _SECTIONS.items():
        for key in kinds:
            if key not in sections[name]:
                yield f"{FILE}: defaults.{name}.{key}: missing; it must be {kinds[key].words}"


# Variables


def _apply_variables(
    environ: Mapping[str, str],
    limits: dict[str, dict[str, Sourced]],
    sections: dict[str, dict[str, Sourced]],
) -> Iterator[str]:
    targets = _targets(limits)
    prefixes = (*(f"PERF_{service.upper()}_" for service in {*KNOWN_LIMITS, *limits}), *_OURS)
    applied: dict[tuple[str, str], str] = {}
    for variable, text in sorted(environ.items()):
        if variable not in targets:
            if variable.startswith(prefixes) and variable not in _ELSEWHERE:
                yield f"{variable}: names no limit{_nearest(variable, targets)}"
            continue
        target = targets[variable]
        if target in applied:
            yield f"{variable}: sets the same limit as {applied[target]}; keep one of the two"
            continue
        applied[target] = variable
        table, key = target
        kind = _SECTIONS[table][key] if variable in _VARIABLES else _NUMBER
        value = _parse(text)
        if not kind.accepts(value):
            yield f"{variable}: must be {kind.words}, not {text!r}"
        else:
            (sections if variable in _VARIABLES else limits)[table][key] = Sourced(value=value, source=variable)


def _targets(limits: Mapping[str, Mapping[str, Sourced]]) -> dict[str, tuple[str, str]]:
    """Return every variable that sets something, and the table and key it sets."""
    targets: dict[str, tuple[str, str]] = {}
    for service, table in limits.items():
        for name in table:
            variables = (f"PERF_{service}_{name}".upper(), *KNOWN_LIMITS.get(service, {}).get(name, ()))
            targets |= dict.fromkeys(variables, (service, name))
    return targets | _VARIABLES


def _parse(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


# Limits as the judge reads them


def _limits(tables: Mapping[str, Mapping[str, Sourced]]) -> Iterator[Limit]:
    for service, table in tables.items():
        for name, sourced in table.items():
            operation, rules = _rules(name, sourced.value)
            for statistic, bound in rules.items():
                yield Limit(
                    service=service,
                    name=name,
                    operation=operation,
                    statistic=statistic,
                    bound=bound,
                    source=sourced.source,
                )


def _rules(name: str, value: Any) -> tuple[str | None, dict[str, float]]:  # noqa: ANN401 - a number or a table
    """Return the operation a limit's name means and its bounds, a bound per statistic, in seconds and bytes."""
    if name.endswith("_ms"):
        table = value if isinstance(value, dict) else {"p95": value}
        return name.removesuffix("_ms"), {key: bound * MILLISECOND for key, bound in table.items()}
    if name.endswith("_ops_per_sec"):
        operation = name.removesuffix("_ops_per_sec")
        return None if operation == "throughput" else operation, {"throughput": float(value)}
    if name.startswith("memory_per_"):
        return name.removeprefix("memory_per_").removesuffix("_mb"), {"per operation": value * MIB}
    if name.endswith("_mb"):
        operation = name.removesuffix("_mb").removesuffix("_limit")
        return None if operation == "memory" else operation, {"growth": value * MIB}
    return None, {"count": float(value)}


def _single(value: Any) -> float:  # noqa: ANN401 - a number or a table
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]
    return value[max(value, key=lambda name: float(name[1:]))]  # type: ignore[no-any-return]
