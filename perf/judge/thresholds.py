"""Read `thresholds.toml` and the `PERF_*` variables into settings in which every value knows its source.

Command line > `PERF_*` variable > the profile's table > `[defaults]`. Nothing here reads a file: text and
variables are arguments. Every mistake is found before one error names them all.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perf.errors import SettingsError
from perf.judge.schema import FILE, KNOWN_LIMITS, NUMBER, PROFILES, SECTIONS, as_table, faults, layers_of, nearest
from perf.units import MIB, MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OURS = ("PERF_STRESS_", "PERF_CONCURRENT_")
_VARIABLES = {"PERF_STRESS_DURATION_SEC": ("measure", "stress_duration_sec")}
_ELSEWHERE = ("PERF_REDIS_URL", "PERF_MODEL_URL")  # read where a server is chosen, in perf.services


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One bound. `statistic` is "p95" and the like, "growth", "per operation", "throughput", "overhead" or "count".

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
    regression: Mapping[str, Sourced]
    numbers: Mapping[str, Mapping[str, float]]
    """Service to limit name to its number as written (milliseconds, MiB); a table counts as its highest percentile."""


def resolve(text: str, environ: Mapping[str, str], profile: str = "dev") -> Settings:
    """Return the settings of `profile` from the text of `thresholds.toml` and the variables.

    Raises SettingsError with a line for every key at fault, in any profile, and the nearest right key.
    """
    if profile not in PROFILES:
        raise SettingsError(f"profile {profile!r}: unknown{nearest(profile, PROFILES)}; one of {', '.join(PROFILES)}")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, tables nested without end
        raise SettingsError(f"{FILE}: {error}") from None
    layers = layers_of(document)
    chosen = {f"{FILE} [{name}]": layers.get(name, {}) for name in ("defaults", f"profiles.{profile}")}
    limits = _merge_limits(chosen)
    sections = {name: _merge_section(name, chosen) for name in SECTIONS}
    mistakes = [*faults(document), *_apply_variables(environ, limits, sections)]
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return Settings(
        profile=profile,
        limits=tuple(_limits(limits)),
        measure=sections["measure"],
        environment=sections["environment"],
        regression=sections["regression"],
        numbers={
            service: {name: _single(sourced.value) for name, sourced in table.items()}
            for service, table in limits.items()
        },
    )


def _merge_limits(layers: Mapping[str, Any]) -> dict[str, dict[str, Sourced]]:
    """Lay the tables of limits over each other; what is no table is a fault, found elsewhere, and passed over."""
    merged: dict[str, dict[str, Sourced]] = {}
    for source, layer in layers.items():
        for service, limits in as_table(as_table(layer).get("limits")).items():
            entries = {name: Sourced(value=value, source=source) for name, value in as_table(limits).items()}
            merged.setdefault(service, {}).update(entries)
    return merged


def _merge_section(name: str, layers: Mapping[str, Any]) -> dict[str, Sourced]:
    merged: dict[str, Sourced] = {}
    for source, layer in layers.items():
        section = as_table(as_table(layer).get(name))
        merged |= {key: Sourced(value=value, source=source) for key, value in section.items()}
    return merged


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
                yield f"{variable}: names no limit{nearest(variable, targets)}"
            continue
        target = targets[variable]
        if target in applied:
            yield f"{variable}: sets the same limit as {applied[target]}; keep one of the two"
            continue
        applied[target] = variable
        table, key = target
        kind = SECTIONS[table][key] if variable in _VARIABLES else NUMBER
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
            full = f"PERF_{service}_{name}".upper()
            short = KNOWN_LIMITS.get(service, {}).get(name, full)
            targets |= dict.fromkeys((full, short), (service, name))
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
    if name.endswith("_overhead"):
        return name.removesuffix("_overhead"), {"overhead": float(value)}
    return None, {"count": float(value)}


def _single(value: Any) -> float:  # noqa: ANN401 - a number or a table
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]
    return value[max(value, key=lambda name: float(name[1:]))]  # type: ignore[no-any-return]
