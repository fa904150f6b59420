"""What one pytest session measures: its settings, what was collected so far, and the run it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from perf.errors import MeasurementError
from perf.judge.limits import judge_limits
from perf.judge.verdict import judge_run
from perf.record.environment import fingerprint
from perf.record.run import CATEGORIES, SECTION, LimitInForce, Origin, Run, from_benchmarks

if TYPE_CHECKING:
    from perf.judge.limits import LimitVerdict
    from perf.judge.thresholds import Settings
    from perf.judge.verdict import RunVerdict
    from perf.record.run import Failure, Measurement

INSTALLED = ("khive", "dependencies")
"""Settings that say what to install: what really is installed stands in the fingerprint."""


@dataclass(kw_only=True)
class PerformanceSession:
    """The state of one measuring session, filled while its tests run."""

    settings: Settings
    services: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    expected_services: set[str] = field(default_factory=set)
    untimed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished session: its run, what each limit and the whole came to, and the document to save."""

    run: Run
    limits: list[LimitVerdict]
    verdict: RunVerdict
    document: dict[str, Any]


SESSION = pytest.StashKey[PerformanceSession]()


def performance_session(config: pytest.Config) -> PerformanceSession:
    """Return the session under way; MeasurementError when pytest was not told that a test would measure."""
    if SESSION not in config.stash:
        raise MeasurementError("an instrument must be an argument of the test, so that its run is prepared beforehand")
    return config.stash[SESSION]


def origin_of(item: Any) -> Origin:  # noqa: ANN401 - pytest types a fixture's node as Any
    """Return where a test's measurements come from: its service by its module's name, its category by its marker."""
    module = item.path.stem
    service = module.removeprefix("test_").removesuffix("_performance")
    category = next((name for name in reversed(CATEGORIES) if item.get_closest_marker(name)), CATEGORIES[0])
    operation = getattr(item, "originalname", item.name).removeprefix("test_")
    return Origin(test=item.nodeid, service=service, category=category, operation=operation)


def conclude(session: PerformanceSession, document: dict[str, Any]) -> Outcome:
    """Judge what `session` collected, and make one document of it and of pytest-benchmark's own.

    What a failed test recorded is left out: nobody checked that it was the work it is named after.
    """
    failed = {failure.origin.test for failure in session.failures}
    recorded = [one for one in session.measurements if one.origin.test not in failed]
    measurements = [*from_benchmarks(document["benchmarks"]), *recorded]
    not_offered = {failure.origin.service for failure in session.failures if failure.kind == "not offered"}
    known_faults = {
        (failure.origin.service, failure.origin.operation): failure.reason
        for failure in session.failures
        if failure.kind == "known fault"
    }
    limits = judge_limits(session.settings.limits, measurements, session.expected_services | not_offered, known_faults)
    verdict = judge_run(limits, session.failures, untimed=session.untimed)
    run = Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=session.settings.profile,
        verdict=verdict.word,
        environment=fingerprint() | {"services": list(session.services.values())},
        settings={
            f"{section}.{key}": {"value": sourced.value, "source": sourced.source}
            for section, table in (("measure", session.settings.measure), ("environment", session.settings.environment))
            for key, sourced in table.items()
            if key not in INSTALLED
        },
        limits=[
            LimitInForce(
                service=limit.service,
                name=limit.name,
                statistic=limit.statistic,
                bound=limit.bound,
                source=limit.source,
            )
            for limit in session.settings.limits
        ],
        measurements=recorded,
        failures=session.failures,
    )
    return Outcome(
        run=msgspec.structs.replace(run, measurements=measurements),
        limits=limits,
        verdict=verdict,
        document=document | {SECTION: msgspec.to_builtins(run, enc_hook=repr)},
    )
