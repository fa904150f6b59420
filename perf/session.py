"""What one pytest session measures: its settings, what was collected so far, and the run it becomes."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from perf.errors import MeasurementError
from perf.judge.leaks import GrowthVerdict, judge_growth
from perf.judge.limits import NO_TIMINGS, judge_limits
from perf.judge.scaling import ScalingVerdict, judge_scaling
from perf.judge.verdict import judge_run
from perf.record.environment import fingerprint
from perf.record.run import CATEGORIES, SECTION, Failure, LimitInForce, Measurement, Origin, Run, from_benchmarks

if TYPE_CHECKING:
    from perf.judge.limits import LimitVerdict
    from perf.judge.thresholds import Settings
    from perf.judge.verdict import RunVerdict
    from perf.measure.lockstep import Lockstep
    from perf.report.progress import ProgressLine

INSTALLED = ("khive", "dependencies")
"""Settings that say what to install: what really is installed stands in the fingerprint."""


@dataclass(kw_only=True)
class PerformanceSession:
    """One measuring session in one process, and what the test under way left that no report has carried yet.

    `untimed` says why no timing of this session counts, None when they do.
    """

    settings: Settings
    services: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    expected_services: set[str] = field(default_factory=set)
    untimed: str | None = None
    process: int = field(default_factory=os.getpid)
    child_failure: Failure | None = None

    @property
    def forked(self) -> bool:
        """Whether this is a child that ends with its test, and with all that was not put on the test's report."""
        return os.getpid() != self.process

    def hand_over(self, failure: Failure | None) -> dict[str, Any]:
        """Return what the test left since its last report, in builtin types, and forget it."""
        if self.forked:  # a subtest's own report never leaves the child, so what it told is told again
            failure = self.child_failure = self.child_failure or failure
        part = Part(services=self.services, measurements=self.measurements, failure=failure)
        self.services, self.measurements = {}, []
        return msgspec.to_builtins(part, enc_hook=_builtin)  # type: ignore[no-any-return]


def _builtin(value: object) -> float | str:
    return float(value) if isinstance(value, Real) else repr(value)  # numpy's numbers stay numbers


class Part(msgspec.Struct, omit_defaults=True):
    """What one report of a test carries to the process that judges and saves."""

    services: dict[str, str] = {}
    measurements: list[Measurement] = []
    failure: Failure | None = None


@dataclass(kw_only=True)
class Collected:
    """What all reports brought to the process that judges and saves; `failures` has one a test, by its id."""

    services: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)

    def add(self, report: pytest.TestReport, part: Part) -> None:
        """Take in a report; what an attempt that failed measured is left out: nobody checked what work it was."""
        if report.when == "setup":
            self.spoilt.discard(report.nodeid)
        outcome: str = report.outcome  # pytest-rerunfailures adds a word of its own: "rerun"
        if failure := part.failure or _untold(report, outcome):
            self.spoilt.add(report.nodeid)
            self._note(msgspec.structs.replace(failure, kind="rerun") if outcome == "rerun" else failure)
        self.services |= part.services
        if report.nodeid not in self.spoilt:
            self.measurements += part.measurements

    def _note(self, failure: Failure) -> None:
        """Keep the gravest failure of a test, and of equals the first."""
        known = self.failures.get(failure.origin.test)
        if known is None or _GRAVITY.get(failure.kind, 0) > _GRAVITY.get(known.kind, 0):
            self.failures[failure.origin.test] = failure


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished session: its run, what limits, memory, scaling and the whole came to, the document to save."""

    run: Run
    limits: list[LimitVerdict]
    leaks: list[tuple[Measurement, GrowthVerdict]]
    scalings: list[ScalingVerdict]
    verdict: RunVerdict
    document: dict[str, Any]


_REASON_LENGTH = 400
_GRAVITY = {"rerun": 1, "failed": 2}
CARRIED = "khive_performance"
"""The name under which a test's report carries what the test measured."""

SESSION = pytest.StashKey[PerformanceSession]()
LOCKSTEP: pytest.StashKey[Lockstep] = pytest.StashKey()
"""In a process that is one of a pair, what tells it when to measure."""
PROGRESS: pytest.StashKey[ProgressLine] = pytest.StashKey()


def performance_session(config: pytest.Config) -> PerformanceSession:
    """Return the session under way; MeasurementError when pytest was not told that a test would measure."""
    if SESSION not in config.stash:
        raise MeasurementError("an instrument must be an argument of the test, so that its run is prepared beforehand")
    return config.stash[SESSION]


def origin_of(item: Any) -> Origin:  # noqa: ANN401 - pytest types a fixture's node as Any
    """Return where a test's measurements come from: its service by its module's name, its category by its marker."""
    category = next((name for name in reversed(CATEGORIES) if item.get_closest_marker(name)), CATEGORIES[0])
    operation = getattr(item, "originalname", item.name).removeprefix("test_")
    return Origin(test=item.nodeid, service=_service(item.path), category=category, operation=operation)


def _service(module: Path) -> str:
    return module.stem.removeprefix("test_").removesuffix("_performance")


def one_line(text: str) -> str:
    """Return a reason as a report has room for it."""
    return textwrap.shorten(text, _REASON_LENGTH, placeholder=" …")


def _untold(report: pytest.TestReport, outcome: str) -> Failure | None:
    """Return the failure of a test that could not tell of it itself (its process crashed, say), None without one."""
    if outcome not in {"failed", "rerun"}:
        return None
    module, _, name = report.nodeid.partition("::")
    operation = name.partition("[")[0].rpartition("::")[2].removeprefix("test_")
    origin = Origin(test=report.nodeid, service=_service(Path(module)), category=CATEGORIES[0], operation=operation)
    return Failure(origin=origin, kind="failed", reason=one_line(str(report.longrepr)))


def conclude(session: PerformanceSession, collected: Collected, document: dict[str, Any]) -> Outcome:
    """Judge what was collected, and make one document of it and of pytest-benchmark's own."""
    failures = list(collected.failures.values())
    measurements = [*from_benchmarks(document["benchmarks"]), *collected.measurements]
    judged = [limit for limit in session.settings.limits if not session.untimed or limit.statistic in NO_TIMINGS]
    limits = judge_limits(judged, measurements, session.expected_services, failures)
    verdict = judge_run(limits, failures, untimed=session.untimed)
    run = Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=session.settings.profile,
        verdict=verdict.word,
        environment=fingerprint() | {"services": list(collected.services.values())},
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
            for limit in judged
        ],
        measurements=collected.measurements,
        failures=failures,
        untimed=session.untimed,
    )
    return Outcome(
        run=msgspec.structs.replace(run, measurements=measurements),
        limits=limits,
        leaks=[(one, judge_growth(one.growth)) for one in measurements if one.growth],
        scalings=[] if session.untimed else judge_scaling(measurements),
        verdict=verdict,
        document=document | {SECTION: msgspec.to_builtins(run, enc_hook=repr)},
    )
