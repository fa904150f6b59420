"""From runs as a user names them to a judgement: what `invoke compare` and `invoke release-gate` ask. Wiring only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perf.errors import NoHistoryError, SettingsError, UnreadableRunError
from perf.judge.ab import judge_builds, own_verdict, problems_of, settle, settling_command, warnings_of
from perf.judge.causes import differences
from perf.judge.changes import benjamini_hochberg, holm, judge_changes, that_stand, why_not_comparable
from perf.judge.gate import Judgement, judge_together
from perf.judge.limits import INCONCLUSIVE, PASSED, judge_limits, over_runs
from perf.judge.series import series_of
from perf.judge.verdict import RunVerdict, judge_run
from perf.record import store
from perf.record.ab_store import FOLDER, load_paired
from perf.record.baselines import Promotion, promote, promotions
from perf.record.index import summaries
from perf.record.selection import select
from perf.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perf.errors import PerfError
    from perf.judge.changes import Change
    from perf.judge.limits import LimitVerdict
    from perf.judge.series import Series
    from perf.judge.thresholds import Settings
    from perf.record.ab import PairedRun
    from perf.record.run import Run
    from perf.record.summary import RunSummary, SavedRuns

HISTORY = 100
"""How many runs before the baseline are looked at: its level is that of the newest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """All that is saved below `root`: the runs, and which of them were promoted."""

    root: Path
    saved: SavedRuns
    promotions: Sequence[Promotion]

    @property
    def folder(self) -> Path:
        """Where the runs are."""
        return self.root / store.FOLDER

    def select(self, spec: str, profile: str | None = None) -> list[RunSummary]:
        """Return the runs that `spec` names; see `perf.record.selection`."""
        return select(spec, self.saved, self.promotions, folder=self.folder, profile=profile)

    def has_baseline(self, profile: str) -> bool:
        """Whether a run of `profile` was ever promoted."""
        return any(one.profile == profile for one in self.promotions)

    def before(self, run: RunSummary, besides: Sequence[RunSummary]) -> list[RunSummary]:
        """Return the newest runs before `run` that can be compared with it, without those in `besides`.

        Before one that is not saved here are all.
        """
        names = [one.name for one in self.saved.runs]
        older = self.saved.runs[: names.index(run.name)] if run.name in names else self.saved.runs
        taken = {one.name for one in besides}
        older = [one for one in older if one.name not in taken]
        return [one for one in older if not why_not_comparable([one, run])][-HISTORY:]


def open_archive(root: Path) -> Archive:
    """Return what is saved below `root`, empty when nothing is."""
    return Archive(root=root, saved=summaries(root / store.FOLDER), promotions=promotions(root))


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a comparison is asked.

    `tolerance` and `metric` stand in place of the profile's own, where they are given; where the runs should be
    `whole`, a limit that was not measured is missing; `correct` says which regressions stand among so many, asked once
    or `at_each_run`; `builds` has the last word on what it settled.
    """

    tolerance: float | None = None
    metric: str | None = None
    whole: bool = False
    correct: Callable[[Sequence[float], float], set[int]] = benjamini_hochberg
    at_each_run: bool = False
    builds: PairedRun | None = None


def compare(
    root: Path,
    environ: Mapping[str, str],
    *,
    baseline: str | None = None,
    current: str | None = None,
    profile: str | None = None,
    question: Question = Question(),
) -> Judgement:
    """Return the judgement of the runs that `current` names (the latest) against those that `baseline` names.

    Without `baseline` that is the promoted run of the profile, or else the run before. NoHistoryError when there is
    none, UnreadableRunError when a run that was asked for cannot be read.
    """
    if profile:
        read_settings(root, environ, profile)  # a profile that is none is better said than sought
    archive = open_archive(root)
    new = archive.select(current or "latest", profile)
    old = _without(archive.select(baseline, new[-1].profile), new) if baseline else _default_baseline(archive, new)
    return _judge(archive, environ, old, new, question)


def _without(old: Sequence[RunSummary], new: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the runs of `old` that are not in `new`: against itself no run is slower."""
    names = {one.name for one in new}
    if rest := [one for one in old if one.name not in names]:
        return rest
    raise NoHistoryError(f"{new[-1].name} would be compared with itself: name another --baseline or --current")


def _default_baseline(archive: Archive, new: Sequence[RunSummary]) -> list[RunSummary]:
    profile = new[-1].profile
    if archive.has_baseline(profile):
        old = archive.select("baseline", profile)
        if old[0].name not in {one.name for one in new}:
            return old
    older = [one for one in archive.saved.runs if one.profile == profile and one.number < new[0].number]
    if not older:
        raise NoHistoryError(f"nothing to compare {new[-1].name} with: no older run of profile {profile} is saved")
    return older[-1:]


def gate(root: Path, environ: Mapping[str, str], profile: str, builds: PairedRun | None = None) -> Judgement:
    """Return the judgement of all runs of the newest build since the baseline of `profile` was promoted.

    `builds`, a comparison in lockstep of the baseline's build with this one, has the last word on what it settled.

    Each further run is a further look at the same question, so look k spends 1 / (k (k + 1)) of the error that the
    confidence allows. UnreadableRunError when any run of the profile cannot be read: the newest may be among them.
    """
    read_settings(root, environ, profile)
    archive = open_archive(root)
    unreadable = [one for one in archive.saved.unreadable if one.profile in {profile, None}]
    if unreadable:
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise UnreadableRunError(
            f"{unreadable[0].reason}{more}; the gate passes nothing over: repair it or move it away"
        )
    latest = archive.select("latest", profile)[-1]
    problem = ""
    old: list[RunSummary] = []
    if not archive.has_baseline(profile):
        problem = (
            f'profile {profile} has no baseline: `invoke baseline --promote latest --profile {profile} --reason "…"`, '
            "then measure again"
        )
    else:
        old = archive.select("baseline", profile)
    newer = [one for one in archive.saved.runs if old and one.profile == profile and one.number > old[0].number]
    new = [one for one in newer if (one.build, one.commit) == (latest.build, latest.commit)]
    if old and not new:
        problem = "nothing was measured since the baseline was"
    if builds and old:
        _same_builds(builds, old[0], latest)
    question = Question(whole=True, correct=holm, at_each_run=True, builds=builds)
    return _judge(archive, environ, old, new or [latest], question, problem=problem)


def load_builds(root: Path, spec: str) -> PairedRun:
    """Return the comparison of two builds saved below `root` that `spec` names; errors as `load_paired`."""
    return load_paired(spec, root / FOLDER)


def _same_builds(builds: PairedRun, old: RunSummary, new: RunSummary) -> None:
    compared = f"{builds.baseline.build} with {builds.current.build}"
    if (builds.baseline.build, builds.current.build) != (old.build, new.build):
        raise SettingsError(
            f"--ab compared {compared}, and the gate asks about {old.build} and {new.build}: name another"
        )


def against_history(
    root: Path, settings: Settings, present: RunSummary, limits: Sequence[LimitVerdict], verdict: RunVerdict
) -> Judgement:
    """Return the judgement of a run, saved or still under way, against all saved runs it can be compared with.

    `limits` and `verdict` are what its own limits came to.
    """
    before = open_archive(root).before(present, ())
    tolerance, confidence = (settings.regression[name].value for name in ("tolerance", "confidence"))
    changes: list[Change] = []
    if before:
        changes = judge_changes(before[-1:], [present], before[:-1], tolerance=tolerance, confidence=confidence)
        changes = that_stand(changes, 1 - confidence, holm)
    problem = f"no earlier run of profile {present.profile} on this machine, with these settings, is saved"
    return Judgement(
        profile=present.profile,
        baseline=tuple(one.name for one in before[-1:]),
        history=max(len(before) - 1, 0),
        current=(present.name,),
        began=min(one.created for one in (*before, present)),
        ended=present.created,
        tolerance=tolerance,
        confidence=confidence,
        limits=tuple(limits),
        changes=tuple(changes),
        verdict=judge_together(verdict, changes, [] if before else [problem]),
    )


def judgement_of_builds(run: PairedRun, tolerance: float | None = None) -> Judgement:
    """Return the judgement of two builds that were compared in lockstep, `tolerance` in place of what was asked."""
    changes = judge_builds(run, tolerance=tolerance)
    return Judgement(
        profile=run.profile,
        baseline=(f"{run.baseline.spec} ({run.baseline.build})",),
        history=0,
        current=(f"{run.current.spec} ({run.current.build})",),
        began=run.created,
        ended=run.created,
        tolerance=run.tolerance if tolerance is None else tolerance,
        confidence=run.confidence,
        limits=(),
        changes=tuple(changes),
        differences=tuple(differences(run.baseline.environment, run.current.environment)),
        warnings=tuple(warnings_of(run)),
        replicates="pairs of processes",
        verdict=judge_together(own_verdict(run), changes, problems_of(run), label=""),
    )


def _judge(
    archive: Archive,
    environ: Mapping[str, str],
    old: Sequence[RunSummary],
    new: Sequence[RunSummary],
    question: Question,
    *,
    problem: str = "",
) -> Judgement:
    settings = read_settings(archive.root, environ, new[-1].profile)
    tolerance = settings.regression["tolerance"].value if question.tolerance is None else question.tolerance
    confidence = settings.regression["confidence"].value
    history = archive.before(old[0], new) if len(old) == 1 else []
    runs = {one.name: store.load(_path(archive, one)) for one in new}
    limits, limits_verdict = _limits(settings, list(runs.values()), whole=question.whole)
    changes: list[Change] = []
    if not problem:
        asked = {"tolerance": tolerance, "confidence": confidence, "metric": question.metric}
        _check_metric(question.metric, [*old, *new])
        changes = judge_changes(old, new, history, **asked)
        changes = that_stand(changes, 1 - confidence, question.correct, at_each_run=question.at_each_run)
    if question.builds:
        by_builds = judge_builds(question.builds, tolerance=tolerance, confidence=confidence)
        changes = settle(changes, by_builds)
    before = store.load(_path(archive, old[-1])).environment if old else {}
    after = runs[new[-1].name].environment
    return Judgement(
        profile=settings.profile,
        baseline=tuple(one.name for one in old),
        history=len(history),
        current=tuple(one.name for one in new),
        began=min(one.created for one in [*history, *old, *new]),
        ended=max(one.created for one in new),
        tolerance=tolerance,
        confidence=confidence,
        limits=tuple(limits),
        changes=tuple(changes),
        differences=tuple(differences(before, after)) if old else (),
        warnings=(*_failed(runs), *(one.reason for one in archive.saved.unreadable)),
        next_step=settling_command(before, after, changes, tolerance),
        verdict=judge_together(limits_verdict, changes, [problem] if problem else []),
    )


def _check_metric(metric: str | None, runs: Sequence[RunSummary]) -> None:
    known = sorted({name for run in runs for figures in run.figures for name in figures.metrics})
    if metric and metric not in known:
        raise SettingsError(f"--metric {metric}: no run holds it; known are {', '.join(known)}")


def refused(profile: str, error: PerfError) -> Judgement:
    """Return the judgement of a gate that could judge nothing, for the reports that say so."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Judgement(
        profile=profile,
        baseline=(),
        history=0,
        current=(),
        began=now,
        ended=now,
        tolerance=0.0,
        confidence=0.0,
        limits=(),
        changes=(),
        verdict=RunVerdict(word=INCONCLUSIVE, sentence=f"Nothing was judged: {error}"),
    )


def _limits(settings: Settings, runs: Sequence[Run], *, whole: bool) -> tuple[list[LimitVerdict], RunVerdict]:
    """Judge saved runs by the limits in force now: each must hold in every run that measured it.

    Where the runs should be `whole`, a limit that none of them measured is missing. A failed test of any run counts.
    """
    services = {one.service for one in settings.limits} if whole else set()
    verdicts = [judge_limits(settings.limits, run.measurements, services, run.failures) for run in runs]
    limits = over_runs(verdicts)
    failures = [one for run in runs for one in run.failures]
    untimed = next((run.untimed for run in runs if run.untimed), None)
    return limits, judge_run(limits, failures, untimed=untimed)


def _failed(runs: Mapping[str, Run]) -> list[str]:
    return [
        f"{name}: {one.origin.operation} failed: {one.reason}"
        for name, run in runs.items()
        for one in run.failures
        if one.kind == "failed"
    ]


def _path(archive: Archive, run: RunSummary) -> Path:
    return Path(run.path) if run.path else archive.folder / run.name


def promote_run(root: Path, spec: str, reason: str, *, profile: str | None = None, force: bool = False) -> str:
    """Make the run that `spec` names the baseline of its profile, and return the line that says so.

    A reason is always asked for and kept. SettingsError for a run that did not pass, unless `force` is given.
    """
    if not reason.strip():
        raise SettingsError('--promote needs --reason "…": it is kept, and shown with the baseline')
    archive = open_archive(root)
    runs = archive.select(spec, profile)
    if len(runs) != 1:
        raise SettingsError(f"--promote {spec}: names {len(runs)} runs; one can be the baseline")
    run = runs[0]
    if profile and run.profile != profile:
        raise SettingsError(f"--promote {spec}: {run.name} is a run of profile {run.profile}, not of {profile}")
    if not (archive.folder / run.name).is_file():
        raise SettingsError(f"--promote {spec}: not among the saved runs in {archive.folder}")
    if run.verdict != PASSED and not force:
        raise SettingsError(f"{run.name}: its verdict was {run.verdict}; a baseline must have passed, or add --force")
    promotion = Promotion(
        profile=run.profile,
        run=run.name,
        reason=reason.strip(),
        promoted=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=run.verdict,
        commit=run.commit,
        forced=run.verdict != PASSED,
    )
    promote(root, promotion)
    return f"{run.name} is now the baseline of profile {run.profile}: {promotion.reason}"


def baselines_in_force(archive: Archive) -> list[Promotion]:
    """Return the last promotion of each profile."""
    return list({one.profile: one for one in archive.promotions}.values())


def history_of(
    archive: Archive, environ: Mapping[str, str], newest: RunSummary, pattern: str, metric: str | None = None
) -> list[Series]:
    """Return the series, up to the run `newest`, of the operations whose name matches `pattern` (with * and ?)."""
    regression = read_settings(archive.root, environ, newest.profile).regression
    runs = [*archive.before(newest, ()), newest]
    wanted = [
        msgspec.structs.replace(run, figures=[one for one in run.figures if fnmatchcase(one.operation.name, pattern)])
        for run in runs
    ]
    return series_of(
        wanted, tolerance=regression["tolerance"].value, confidence=regression["confidence"].value, metric=metric
    )
