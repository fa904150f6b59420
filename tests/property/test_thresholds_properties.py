from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perf.errors import SettingsError
from perf.judge.schema import KNOWN_LIMITS, PROFILES
from perf.judge.thresholds import Settings, resolve

REPOSITORY = (Path(__file__).parents[2] / "thresholds.toml").read_text(encoding="utf-8")
# Without its limits the file is what a new one must hold, and a limit can be written below it once.
NO_LIMITS = "[defaults.measure]" + REPOSITORY.partition("[defaults.measure]")[2].partition("[profiles.dev]")[0]
LIMITS = st.sampled_from([(service, name) for service, table in KNOWN_LIMITS.items() for name in table])
NUMBERS = st.one_of(st.integers(0, 10**12), st.floats(0, 1e12))

KEYS = st.one_of(
    st.sampled_from(
        [
            "defaults", "profiles", "limits", "measure", "environment", "rounds", "concurrency", "khive", "redis",
            "dependencies", "model_latency_sec", "cache_get_ms", "memory_limit_mb", "own_ms", "p50", "p99.9",
            *PROFILES, *KNOWN_LIMITS,
        ]
    ),
    st.text(max_size=5),
)  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from(["true", "nan", "-inf", "1979-05-27", "07:32:00", "'pinned'", "'://'", "-1", "0", "1e999"]),
    NUMBERS.map(str),
    st.integers().map(str),
    st.text(max_size=5).map(json.dumps),
)


calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines differ


def inline(table: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)} = {value}" for key, value in table.items()) + "}"


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]"),
        st.dictionaries(KEYS, inner, max_size=4).map(inline),
    ),
    max_leaves=12,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4).map(inline)
DOCUMENTS = st.builds(
    lambda layers: "\n".join(f"{key} = {value}" for key, value in layers.items()),
    st.fixed_dictionaries(
        {},
        optional={
            "defaults": VALUES,
            "profiles": VALUES,
            "profiles.prod.limits.cache": VALUES,
            "defaults.limits": TABLES,
            "defaults.limits.own": TABLES,
            "defaults.environment.dependencies": VALUES,
            "defaults.measure.rounds": VALUES,
        },
    ),
)
VARIABLES = st.dictionaries(
    st.one_of(
        st.sampled_from(["PERF_CACHE_GET_MS", "PERF_STRESS_DURATION_SEC", "PERF_CONCURRENT_SESSIONS", "PERF_OWN_X"]),
        st.text(st.characters(codec="ascii", exclude_characters="\0="), max_size=8).map(lambda text: f"PERF_{text}"),
    ),
    st.one_of(st.text(max_size=8), NUMBERS.map(str), st.just("9" * 400)),
    max_size=3,
)


def scale(name: str) -> float:
    """Return how many seconds, bytes or of the bare unit one of a limit's own unit is."""
    if name.endswith("_ms"):
        return 1 / 1000
    return 2.0**20 if name.endswith("_mb") else 1.0


def outcome(text: str, environ: dict[str, str], profile: str) -> Settings | SettingsError:
    try:
        return resolve(text, environ, profile)
    except SettingsError as error:
        return error


@calmly
@given(LIMITS, NUMBERS)
def test_a_number_in_the_file_is_the_bound(limit: tuple[str, str], number: float) -> None:
    """Whatever number a limit is given in the file comes back as its bound in seconds, bytes or a bare number."""
    service, name = limit

    (held,) = resolve(f"{NO_LIMITS}\n[defaults.limits.{service}]\n{name} = {number!r}", {}).limits

    assert held.bound == pytest.approx(number * scale(name), rel=1e-12)


@calmly
@given(LIMITS, NUMBERS, st.sampled_from(PROFILES))
def test_a_number_in_a_variable_is_the_bound(limit: tuple[str, str], number: float, profile: str) -> None:
    """Whatever number a limit's variable holds comes back as its bound, in any profile, by any of its names."""
    service, name = limit

    for variable in (KNOWN_LIMITS[service][name], f"PERF_{service}_{name}".upper()):
        limits = resolve(REPOSITORY, {variable: repr(number)}, profile).limits
        (held,) = [one for one in limits if (one.service, one.name) == limit]
        assert held.bound == pytest.approx(number * scale(name), rel=1e-12)
        assert held.source == variable


@calmly
@given(LIMITS, st.one_of(st.floats(max_value=0, exclude_max=True), st.just(math.nan), st.just(math.inf)))
def test_what_is_no_limit_is_refused_wherever_it_is(limit: tuple[str, str], number: float) -> None:
    """A negative or endless number or NaN is a mistake in the file and in a variable, and its key is named."""
    service, name = limit
    variable = f"PERF_{service}_{name}".upper()

    with pytest.raises(SettingsError, match=rf"defaults\.limits\.{service}\.{name}: "):
        resolve(f"{NO_LIMITS}\n[defaults.limits.{service}]\n{name} = {number!r}", {})
    with pytest.raises(SettingsError, match=f"{variable}: "):
        resolve(REPOSITORY, {variable: repr(number)})


@calmly
@given(DOCUMENTS, VARIABLES, st.sampled_from(PROFILES))
@example(text="defaults.environment.dependencies = ['pinned']", environ={}, profile="dev")
@example(text="defaults.limits = 3\nprofiles.dev.limits.own.x_ms = 1", environ={}, profile="dev")
@example(text=f"defaults.limits.cache.cache_get_ms = {10**400}", environ={}, profile="dev")
def test_no_document_raises_anything_else(text: str, environ: dict[str, str], profile: str) -> None:
    """Whatever a document holds, it is settings or a mistake that is told line by line, never another error."""
    result = outcome(text, environ, profile)

    assert isinstance(result, Settings) or str(result).strip()


@calmly
@given(st.text(), VARIABLES)
def test_no_text_raises_anything_else(text: str, environ: dict[str, str]) -> None:
    """Any text below a complete file is settings or a mistake, never another error."""
    result = outcome(f"{REPOSITORY}\n{text}", environ, "dev")

    assert isinstance(result, Settings) or str(result).strip()


@calmly
@given(VARIABLES)
def test_a_mistake_names_each_variable_at_fault(environ: dict[str, str]) -> None:
    """Where several variables are wrong together, each that is wrong alone has its line."""
    alone = {name for name in environ if isinstance(outcome(REPOSITORY, {name: environ[name]}, "dev"), SettingsError)}

    together: Any = outcome(REPOSITORY, environ, "dev")

    named = {line.partition(": ")[0] for line in str(together).splitlines()} if alone else set()
    assert alone <= named
    assert isinstance(together, SettingsError) == bool(alone)
