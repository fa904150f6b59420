from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perf.errors import SettingsError
from perf.judge.schema import KNOWN_LIMITS, PROFILES
from perf.judge.thresholds import resolve

if TYPE_CHECKING:
    from perf.judge.thresholds import Limit, Settings

REPOSITORY = (Path(__file__).parent.parent / "thresholds.toml").read_text(encoding="utf-8")
MIB = 1024 * 1024

USERS_FIGURES = {
    ("orchestration", "simple_operation_ms"): ("simple_operation", "p95", 0.1),
    ("orchestration", "complex_operation_ms"): ("complex_operation", "p95", 1.0),
    ("orchestration", "memory_limit_mb"): (None, "growth", 50 * MIB),
    ("orchestration", "throughput_ops_per_sec"): (None, "throughput", 10),
    ("planning", "simple_plan_ms"): ("simple_plan", "p95", 0.2),
    ("planning", "complex_plan_ms"): ("complex_plan", "p95", 2.0),
    ("planning", "memory_limit_mb"): (None, "growth", 100 * MIB),
    ("planning", "throughput_ops_per_sec"): (None, "throughput", 5),
    ("session", "session_create_ms"): ("session_create", "p95", 0.05),
    ("session", "session_load_ms"): ("session_load", "p95", 0.025),
    ("session", "memory_per_session_mb"): ("session", "per operation", 5 * MIB),
    ("session", "concurrent_sessions"): (None, "count", 100),
    ("artifacts", "file_read_ms"): ("file_read", "p95", 0.01),
    ("artifacts", "file_write_ms"): ("file_write", "p95", 0.025),
    ("artifacts", "memory_limit_mb"): (None, "growth", 25 * MIB),
    ("artifacts", "throughput_ops_per_sec"): (None, "throughput", 50),
    ("cache", "cache_get_ms"): ("cache_get", "p95", 0.005),
    ("cache", "cache_set_ms"): ("cache_set", "p95", 0.01),
    ("cache", "memory_limit_mb"): (None, "growth", 200 * MIB),
    ("cache", "throughput_ops_per_sec"): (None, "throughput", 1000),
}

COMPLETE = """
[defaults.measure]
rounds = 20
seconds_per_benchmark = 0.5
concurrency = [1, 5]
operations_per_step = 2
memory_operations = 50
memory_seconds = 2
processes = 2
stress_workers = 100
stress_duration_sec = 3

[defaults.environment]
khive = "khive==0.4.0"
dependencies = "floating"
redis = "bundled"
model_latency_sec = 0

[defaults.regression]
tolerance = 0.2
confidence = 0.99
"""


def limits_of(settings: Settings, service: str, name: str) -> list[Limit]:
    return [limit for limit in settings.limits if (limit.service, limit.name) == (service, name)]


def faults(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        resolve(text, environ or {})
    return str(caught.value).splitlines()


def test_dev_has_the_users_figures() -> None:
    """The repository's dev profile holds the user's figures, in seconds, bytes and bare numbers, and ours beside."""
    settings = resolve(REPOSITORY, {}, "dev")

    held = {(one.service, one.name): one for one in settings.limits}
    for key, (operation, statistic, bound) in USERS_FIGURES.items():
        assert (held[key].operation, held[key].statistic) == (operation, statistic), key
        assert held[key].bound == pytest.approx(bound), key
    assert held.keys() - USERS_FIGURES.keys() == {
        ("orchestration", "flows_at_once_ops_per_sec"),
        ("integration", "whole_request_ms"),
        ("integration", "memory_limit_mb"),
        ("suite", "record_operation_overhead"),
        ("suite", "load_runner_overhead"),
    }
    assert len(settings.limits) == len(held)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("cache_miss_ms", None),
        ("cache_at_once_ops_per_sec", None),
        ("key_hashing_overhead", None),
        ("cache_gte_ms", "did you mean cache_get_ms?"),
        ("memory_limits_mb", "did you mean memory_limit_mb?"),
    ],
)
def test_any_operation_may_have_a_limit_and_a_slip_is_none(name: str, fault: str | None) -> None:
    """A service of khive's takes limits for other operations of its, unless the name is a slip of a known one."""
    text = COMPLETE + f"[defaults.limits.cache]\n{name} = 9\n"

    if fault is None:
        assert [limit.name for limit in resolve(text, {}, "dev").limits] == [name]
    else:
        with pytest.raises(SettingsError, match=re.escape(fault)):
            resolve(text, {}, "dev")


@pytest.mark.parametrize(("looser", "stricter"), [("dev", "staging"), ("staging", "prod")])
def test_each_profile_is_at_least_as_strict(looser: str, stricter: str) -> None:
    """Staging is never looser than dev, and prod never looser than staging, in any limit or effort."""
    before, after = resolve(REPOSITORY, {}, looser), resolve(REPOSITORY, {}, stricter)
    bounds = {(one.service, one.name, one.statistic): one.bound for one in after.limits}

    for limit in before.limits:
        sign = -1 if limit.statistic in {"throughput", "count"} else 1
        assert sign * bounds[limit.service, limit.name, limit.statistic] <= sign * limit.bound, limit
    for key, effort in before.measure.items():
        assert after.measure[key].value >= effort.value, key


@pytest.mark.parametrize(
    ("name", "written", "rules"),
    [
        ("cache_get_ms", "5", [("cache_get", "p95", 0.005)]),
        ("cache_get_ms", "{ p50 = 1, p99 = 20 }", [("cache_get", "p50", 0.001), ("cache_get", "p99", 0.02)]),
        ("cache_get_ms", '{ "p99.9" = 40 }', [("cache_get", "p99.9", 0.04)]),
        ("cache_get_ms", "0.25", [("cache_get", "p95", 0.00025)]),
        ("memory_limit_mb", "2", [(None, "growth", 2 * MIB)]),
        ("throughput_ops_per_sec", "1000", [(None, "throughput", 1000.0)]),
        ("hashing_overhead", "2.5", [("hashing", "overhead", 2.5)]),
    ],
)
def test_a_limit_becomes_rules_in_si_units(name: str, written: str, rules: list[tuple[str | None, str, float]]) -> None:
    """A plain latency is judged on p95, a table on the percentiles it names, and every bound is in SI units."""
    held = resolve(f"{COMPLETE}\n[defaults.limits.cache]\n{name} = {written}", {}).limits

    assert [(one.operation, one.statistic) for one in held] == [rule[:2] for rule in rules]
    assert [one.bound for one in held] == pytest.approx([bound for _, _, bound in rules])


@pytest.mark.parametrize(
    ("variable", "service", "name"),
    [
        ("PERF_ORCHESTRATION_SIMPLE_MS", "orchestration", "simple_operation_ms"),
        ("PERF_ORCHESTRATION_COMPLEX_MS", "orchestration", "complex_operation_ms"),
        ("PERF_ORCHESTRATION_MEMORY_MB", "orchestration", "memory_limit_mb"),
        ("PERF_ORCHESTRATION_THROUGHPUT_OPS", "orchestration", "throughput_ops_per_sec"),
        ("PERF_PLANNING_SIMPLE_MS", "planning", "simple_plan_ms"),
        ("PERF_PLANNING_COMPLEX_MS", "planning", "complex_plan_ms"),
        ("PERF_PLANNING_MEMORY_MB", "planning", "memory_limit_mb"),
        ("PERF_PLANNING_THROUGHPUT_OPS", "planning", "throughput_ops_per_sec"),
        ("PERF_SESSION_CREATE_MS", "session", "session_create_ms"),
        ("PERF_SESSION_LOAD_MS", "session", "session_load_ms"),
        ("PERF_SESSION_MEMORY_MB", "session", "memory_per_session_mb"),
        ("PERF_CONCURRENT_SESSIONS", "session", "concurrent_sessions"),
        ("PERF_ARTIFACTS_READ_MS", "artifacts", "file_read_ms"),
        ("PERF_ARTIFACTS_WRITE_MS", "artifacts", "file_write_ms"),
        ("PERF_ARTIFACTS_MEMORY_MB", "artifacts", "memory_limit_mb"),
        ("PERF_ARTIFACTS_THROUGHPUT_OPS", "artifacts", "throughput_ops_per_sec"),
        ("PERF_CACHE_GET_MS", "cache", "cache_get_ms"),
        ("PERF_CACHE_SET_MS", "cache", "cache_set_ms"),
        ("PERF_CACHE_MEMORY_MB", "cache", "memory_limit_mb"),
        ("PERF_CACHE_THROUGHPUT_OPS", "cache", "throughput_ops_per_sec"),
    ],
)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_variable_overrides_its_limit_and_no_other(profile: str, variable: str, service: str, name: str) -> None:
    """A variable, by the user's name or in full, sets its own limit in every profile, signs it, and leaves the rest."""
    scale = {"ms": 0.001, "mb": MIB}.get(name.rpartition("_")[2], 1)
    plain = resolve(REPOSITORY, {}, profile)

    for named in (variable, f"PERF_{service}_{name}".upper()):
        changed = resolve(REPOSITORY, {named: "7.5"}, profile)
        (limit,) = limits_of(changed, service, name)
        assert limit.bound == pytest.approx(7.5 * scale)
        assert limit.source == named
        assert changed.numbers[service][name] == 7.5
        others = [one for one in plain.limits if (one.service, one.name) != (service, name)]
        assert [one for one in changed.limits if one is not limit] == others


def test_the_stress_duration_has_its_variable() -> None:
    """PERF_STRESS_DURATION_SEC sets how long stress tests run, and the value says so."""
    duration = resolve(REPOSITORY, {"PERF_STRESS_DURATION_SEC": "30"}).measure["stress_duration_sec"]

    assert (duration.value, duration.source) == (30, "PERF_STRESS_DURATION_SEC")


def test_every_value_knows_its_source() -> None:
    """A value is inherited from the defaults, replaced by the profile, then by a variable, and names which it was."""
    text = f"{COMPLETE}\n[defaults.limits.cache]\ncache_get_ms = 5\ncache_set_ms = 10\nmemory_limit_mb = 200\n"
    text += "[profiles.prod.limits.cache]\ncache_set_ms = 6\nmemory_limit_mb = 100\n"
    text += "[profiles.prod.measure]\nrounds = 100\n[profiles.staging.limits.cache]\ncache_get_ms = 1\n"

    settings = resolve(text, {"PERF_CACHE_MEMORY_MB": "90"}, "prod")

    assert {limit.name: (settings.numbers["cache"][limit.name], limit.source) for limit in settings.limits} == {
        "cache_get_ms": (5, "thresholds.toml [defaults]"),
        "cache_set_ms": (6, "thresholds.toml [profiles.prod]"),
        "memory_limit_mb": (90, "PERF_CACHE_MEMORY_MB"),
    }
    assert settings.measure["rounds"].source == "thresholds.toml [profiles.prod]"
    assert settings.environment["khive"].source == "thresholds.toml [defaults]"


@pytest.mark.parametrize(
    ("text", "key", "help_"),
    [
        ("[default.measure]\nrounds = 1", "default", "did you mean defaults?"),
        ("[profiles.stagging.measure]\nrounds = 1", "profiles.stagging", "did you mean staging?"),
        ("[profiles.dev.limit.cache]\ncache_get_ms = 1", "profiles.dev.limit", "did you mean limits?"),
        ("[defaults.limits.cahce]\ncache_get_ms = 1", "defaults.limits.cahce", "did you mean cache?"),
        ("[defaults.limits.cache]\ncache_gte_ms = 1", "defaults.limits.cache.cache_gte_ms", "did you mean cache_get_"),
        ("[profiles.prod.measure]\nround = 1", "profiles.prod.measure.round", "did you mean rounds?"),
        ("[profiles.prod.limits.own]\nx_ms = 1", "profiles.prod.limits.own.x_ms", "unknown limit"),
        ("profiles = 3", "profiles", "must be a table"),
        ("[profiles]\ndev = 3", "profiles.dev", "must be a table"),
        ("[profiles.dev]\nlimits = 3", "profiles.dev.limits", "must be a table"),
        ("[profiles.dev.limits]\ncache = 3", "profiles.dev.limits.cache", "must be a table"),
        ("[profiles.dev]\nmeasure = [1]", "profiles.dev.measure", "must be a table"),
        ("[defaults.limits.cache]\ncache_get_ms = -1", "defaults.limits.cache.cache_get_ms", "not -1"),
        ("[defaults.limits.cache]\ncache_get_ms = nan", "defaults.limits.cache.cache_get_ms", "not nan"),
        ("[defaults.limits.cache]\ncache_get_ms = inf", "defaults.limits.cache.cache_get_ms", "not inf"),
        ("[defaults.limits.cache]\ncache_get_ms = '5'", "defaults.limits.cache.cache_get_ms", "not '5'"),
        ("[defaults.limits.cache]\ncache_get_ms = true", "defaults.limits.cache.cache_get_ms", "not True"),
        ("[defaults.limits.cache]\ncache_get_ms = {}", "defaults.limits.cache.cache_get_ms", "names no percentile"),
        ("[defaults.limits.cache]\ncache_get_ms.p59 = 1", "defaults.limits.cache.cache_get_ms.p59", "did you mean p"),
        ("[defaults.limits.cache]\ncache_get_ms.p50 = -1", "defaults.limits.cache.cache_get_ms.p50", "not -1"),
        (
            "[defaults.limits.cache]\nmemory_limit_mb.p50 = 1",
            "defaults.limits.cache.memory_limit_mb",
            "a finite number",
        ),
        ("[profiles.dev.measure]\nrounds = 0", "profiles.dev.measure.rounds", "1 or more, not 0"),
        ("[profiles.dev.measure]\nrounds = 2.5", "profiles.dev.measure.rounds", "a whole number"),
        ("[profiles.dev.measure]\nconcurrency = []", "profiles.dev.measure.concurrency", "a list of whole numbers"),
        ("[profiles.dev.measure]\nstress_duration_sec = 0", "profiles.dev.measure.stress_duration_sec", "above 0"),
        ("[profiles.dev.environment]\nredis = 'mine'", "profiles.dev.environment.redis", "not 'mine'"),
        ("[profiles.dev.environment]\ndependencies = 'any'", "profiles.dev.environment.dependencies", "not 'any'"),
        ("[profiles.dev.environment]\ndependencies = ['pinned']", "profiles.dev.environment.dependencies", "pinned"),
        (
            f"[defaults.limits.cache]\ncache_get_ms = 1{400 * '0'}",
            "defaults.limits.cache.cache_get_ms",
            "a finite number",
        ),
    ],
)
def test_a_mistake_in_the_file_names_its_key(text: str, key: str, help_: str) -> None:
    """One mistake in the file is one line that names the key path and the right key, type or range."""
    (line,) = faults(f"{text}\n{COMPLETE}")

    assert line.startswith(f"thresholds.toml: {key}: ")
    assert help_ in line


@pytest.mark.parametrize(
    ("variable", "value", "help_"),
    [
        ("PERF_CACHE_GET_MS", "fast", "not 'fast'"),
        ("PERF_CACHE_GET_MS", "", "not ''"),
        ("PERF_CACHE_GET_MS", "-1", "0 or more, not '-1'"),
        ("PERF_CACHE_GET_MS", "nan", "a finite number"),
        ("PERF_CACHE_GET_MS", "inf", "a finite number"),
        pytest.param("PERF_CACHE_GET_MS", f"1{400 * '0'}", "a finite number", id="PERF_CACHE_GET_MS-1e400"),
        ("PERF_STRESS_DURATION_SEC", "0", "a number of seconds above 0"),
        ("PERF_CACHE_GTE_MS", "5", "names no limit; did you mean PERF_CACHE_GET_MS?"),
        ("PERF_PLANNING_SIMPEL_MS", "5", "names no limit; did you mean PERF_PLANNING_SIMPLE_MS?"),
        ("PERF_CONCURRENT_SESSION", "5", "names no limit; did you mean PERF_CONCURRENT_SESSIONS?"),
        ("PERF_STRESS_DURATION_SECONDS", "5", "names no limit; did you mean PERF_STRESS_DURATION_SEC?"),
        ("PERF_ORCHESTRATION_", "5", "names no limit"),
    ],
)
def test_a_mistake_in_a_variable_names_it(variable: str, value: str, help_: str) -> None:
    """One mistaken variable is one line that names it and the right name, type or range."""
    (line,) = faults(REPOSITORY, {variable: value})

    assert line.startswith(f"{variable}: ")
    assert help_ in line


def test_every_mistake_is_named_at_once() -> None:
    """One error names every key at fault, whichever profile, section or variable it is in."""
    text = f"{COMPLETE}\n[defaults.limits.cache]\ncache_get_ms = -1\n[profiles.prod.limits.cache]\ncache_set = 2\n"
    text += "[profiles.staging.measure]\nrounds = 'many'\n"
    environ = {"PERF_CACHE_SETT_MS": "1", "PERF_SESSION_LOAD_MS": "x"}

    lines = faults(text, environ)

    named = ("defaults.limits.cache.cache_get_ms", "profiles.prod.limits.cache.cache_set", "profiles.staging.measure")
    assert [key for key in (*named, *environ) if key not in "\n".join(lines)] == []


def test_mistaken_variables_are_named_together() -> None:
    """Two mistaken variables are two lines of one error."""
    lines = faults(REPOSITORY, {"PERF_CACHE_GTE_MS": "1", "PERF_SESSION_LOAD_MS": "x", "PERF_CACHE_SET_MS": "8"})

    assert [line.partition(":")[0] for line in lines] == ["PERF_CACHE_GTE_MS", "PERF_SESSION_LOAD_MS"]


def test_two_variables_for_one_limit_contradict() -> None:
    """The short and the full variable of one limit together are a mistake that names both."""
    (line,) = faults(REPOSITORY, {"PERF_CACHE_GET_MS": "3", "PERF_CACHE_CACHE_GET_MS": "4"})

    assert "PERF_CACHE_GET_MS" in line
    assert "PERF_CACHE_CACHE_GET_MS" in line


@pytest.mark.parametrize("variable", ["PERF_BUILDID_DIR", "PERF_CONFIG", "PERF", "PERF_EXEC_PATH", "perf_cache_get_ms"])
def test_other_programs_variables_are_left_alone(variable: str) -> None:
    """A PERF_* variable of Linux perf or of anything else neither fails nor changes a setting."""
    assert resolve(REPOSITORY, {variable: "/x"}) == resolve(REPOSITORY, {})


@pytest.mark.parametrize("service", ["redis", "model"])
def test_the_suites_own_variables_are_no_limits(service: str) -> None:
    """PERF_REDIS_URL and PERF_MODEL_URL stay what they are when a service of the user's has that name."""
    text = f"{REPOSITORY}\n[defaults.limits.{service}]\nping_ms = 1\n"

    settings = resolve(text, {f"PERF_{service.upper()}_URL": "redis://localhost"})

    assert settings.numbers[service] == {"ping_ms": 1}


def test_a_service_may_be_named_like_a_section() -> None:
    """A variable of the `measure` section still sets it when a service of the user's is called `measure`."""
    text = f"{REPOSITORY}\n[defaults.limits.measure]\nping_ms = 1\n"

    settings = resolve(text, {"PERF_STRESS_DURATION_SEC": "7"})

    assert settings.measure["stress_duration_sec"].value == 7
    assert settings.numbers["measure"] == {"ping_ms": 1}


def test_a_service_of_the_users_own_has_limits_and_variables() -> None:
    """A service khive does not have takes the limits that `[defaults]` declares, each with its variable."""
    text = f"{COMPLETE}\n[defaults.limits.billing]\ncharge_ms = 5\nbatch_ops_per_sec = 3\n"

    settings = resolve(text, {"PERF_BILLING_CHARGE_MS": "2"})

    rules = [(limit.operation, limit.statistic, limit.bound) for limit in settings.limits]
    assert rules == [("charge", "p95", pytest.approx(0.002)), ("batch", "throughput", 3)]


@pytest.mark.parametrize("written", ["{ p50 = 1, p99 = 20 }", "{ p99 = 20, p50 = 1 }"])
def test_a_table_counts_as_its_strictest_tail(written: str) -> None:
    """The number of a table of percentiles is that of its highest one, in whichever order they are written."""
    settings = resolve(f"{COMPLETE}\n[defaults.limits.cache]\ncache_get_ms = {written}", {})

    assert settings.numbers["cache"]["cache_get_ms"] == 20


@pytest.mark.parametrize("key", [line.partition(" =")[0] for line in COMPLETE.splitlines() if " = " in line])
def test_a_missing_setting_is_named(key: str) -> None:
    """A setting that neither the defaults nor the profile give is a mistake that says what belongs there."""
    text = "\n".join(line for line in COMPLETE.splitlines() if not line.startswith(f"{key} ="))

    (line,) = faults(text)

    assert f".{key}: missing; it must be " in line


def test_an_unknown_profile_names_the_nearest() -> None:
    """A profile that does not exist is answered with the nearest and with all there are."""
    with pytest.raises(SettingsError, match=r"'pord': unknown; did you mean prod\?; one of dev, staging, prod"):
        resolve(REPOSITORY, {}, "pord")


def test_text_that_is_no_toml_names_the_line() -> None:
    """A syntax error names the file and the line."""
    (line,) = faults("[defaults]\nrounds = = 3\n")

    assert line.startswith("thresholds.toml: ")
    assert "line 2" in line


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"defaults = {2000 * '['}{2000 * ']'}", id="bottomless"),
        pytest.param(f"defaults = {5000 * '9'}", id="endless number"),
        pytest.param("defaults.limits = 3\nprofiles.dev.limits.own.x_ms = 1", id="limits of nothing"),
        pytest.param("a = '\0'", id="control character"),
    ],
)
def test_what_no_reader_expects_is_a_mistake(text: str) -> None:
    """A document too deep, too long or too odd to read is a mistake in the file, never another error."""
    assert faults(text)[0].startswith("thresholds.toml: ")


def test_every_known_limit_has_a_figure_and_a_short_variable() -> None:
    """Each limit of khive's services is among the user's figures and can be set by a short variable."""
    known = {(service, name): short for service, table in KNOWN_LIMITS.items() for name, short in table.items()}

    assert known.keys() == USERS_FIGURES.keys()
    assert all(known.values())
