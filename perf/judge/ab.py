"""Two builds measured in lockstep: a verdict for each operation, of pairs of fresh processes, at looks fixed before."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from perf.judge.causes import LIKELY
from perf.judge.changes import HIGHER, MISSING, NEW, Change
from perf.judge.comparison import (
    IMPROVED,
    INCONCLUSIVE,
    PASSED,
    REGRESSED,
    Comparison,
    bad_time,
    check,
    inconclusive,
    judge_interval,
    quantile,
)
from perf.judge.verdict import FAILED as RUN_FAILED
from perf.judge.verdict import RunVerdict
from perf.record.ab import BLOCKS, BROKEN, FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perf.record.ab import Compared, Pair, PairedRun, Unpaired

LOOKS = (6, 10, 16, 24, 32)
"""After how many pairs an operation is looked at; it is settled at the first that shows anything, or at the last."""

_TRIMMED = 8
"""Of so many pairs the least and the greatest are left out: one in ten operations meets a pair that is far off."""

DETECTABLE = 0.02
"""What the second sentinel is slower by than the tolerance: the least that ten pairs find nine times in ten.

For a spread of 1.5 % between pairs: (t(0.99, 9) + t(0.9, 9)) 1.5 % / √10, rounded up from 1.99 %.
"""

_QUARTERS = {"faster": (0.25, 0.01), "slower": (0.75, 0.05)}
"""Where the blocks of either quarter begin, and how far their ratio may lie from that of the middle ones.

What disturbs a process makes its slow blocks slower, so those tell less exactly.
"""


def judge_pairs(
    pairs: Sequence[Pair],
    *,
    tolerance: float,
    confidence: float,
    higher_is_better: bool = False,
    asked: int = 1,
    looks: Sequence[int] = LOOKS,
) -> Comparison:
    """Compare the two sides of pairs of processes; each pair is one replicate.

    A pair's figure is the median, over its quads of blocks (old new new old), of their log ratio; on the trimmed
    mean of these stands Student's t, with their winsorized variance (J. W. Tukey and D. H. McLaughlin, 1963). Of
    the error that `confidence` allows each of the `looks` spends a part in proportion to its pairs, of a false
    "regressed" also each of the `asked` comparisons that are made together an equal one (Bonferroni). Only what was
    there at the last look is judged. Where the faster quarter of the blocks tells another ratio, by 1 %, or the
    slower, by 5 %, or by half the tolerance, there is no verdict.
    """
    check(tolerance, confidence)
    reached = max((look for look in looks if look <= len(pairs)), default=0)
    if not reached:
        return inconclusive(f"{len(pairs)} pairs of processes, {looks[0]} are needed: raise --budget", _ratio(pairs))
    looked = pairs[:reached]
    if reason := bad_time(value for pair in looked for side in (pair.baseline, pair.current) for value in side):
        return inconclusive(reason)
    sign = -1.0 if higher_is_better else 1.0
    logs = [sign * _log_ratio(pair) for pair in looked]
    mean, error, freedom = _trimmed_mean(logs)
    comparison = judge_interval(
        mean,
        (error, error),
        freedom,
        tolerance=tolerance,
        confidence=1 - (1 - confidence) * reached / sum(looks),
        sign=sign,
        asked=asked,
        advice=_advice(len(pairs), looks),
    )
    for name, (quarter, apart) in _QUARTERS.items():
        other, _, _ = _trimmed_mean([sign * _log_ratio_at(pair, quarter) for pair in looked])
        if abs(other - mean) > max(apart, tolerance / 2):
            told, other_told = (f"{math.expm1(sign * one):+.1%}" for one in (mean, other))
            reason = f"its blocks do not take the same time: their middle tells {told}, the {name} quarter {other_told}"
            return replace(comparison, verdict=INCONCLUSIVE, warnings=(reason,))
    return comparison


def _advice(pairs: int, looks: Sequence[int]) -> str:
    if pairs < looks[-1]:
        return f"not settled after {pairs} pairs: raise --budget"
    return f"not clear of the tolerance after {pairs} pairs: allow more, or measure on a quieter machine"


def _log_ratio(pair: Pair) -> float:
    """Return the median log ratio of quads of blocks, in which either side comes first once; of one block its own."""
    ratios = [math.log(new / old) for old, new in zip(pair.baseline, pair.current, strict=True)]
    return median([fmean(two) for two in zip(ratios[::2], ratios[1::2], strict=False)] or ratios)


def _log_ratio_at(pair: Pair, q: float) -> float:
    return math.log(quantile(pair.current, q) / quantile(pair.baseline, q))


def _ratio(pairs: Sequence[Pair]) -> float | None:
    return math.exp(fmean(map(_log_ratio, pairs))) if pairs else None


def _trimmed_mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean without the outermost, its standard error, and the degrees of freedom of that."""
    n, trimmed = len(values), len(values) // _TRIMMED
    ordered = sorted(values)
    kept = ordered[trimmed : n - trimmed]
    winsorized = [kept[0]] * trimmed + kept + [kept[-1]] * trimmed
    centre = fmean(winsorized)
    squares = math.fsum((value - centre) ** 2 for value in winsorized)
    return fmean(kept), math.sqrt(squares / (len(kept) * (len(kept) - 1))), len(kept) - 1.0


def is_open(comparison: Comparison, pairs: int) -> bool:
    """Whether more pairs could settle a comparison."""
    return comparison.verdict == INCONCLUSIVE and pairs < LOOKS[-1]


def judge_compared(one: Compared, *, tolerance: float, confidence: float, asked: int) -> Comparison:
    """Return the comparison of one operation, one of `asked`."""
    return judge_pairs(
        one.pairs,
        tolerance=tolerance,
        confidence=confidence,
        higher_is_better=one.better == HIGHER,
        asked=asked,
    )


def _change(one: Compared, comparison: Comparison) -> Change:
    reasons = [*comparison.warnings, *(["compared in whole turns, not in blocks"] if one.by != BLOCKS else [])]
    return Change(
        operation=one.operation,
        metric=one.metric,
        unit=one.unit,
        better=one.better,
        verdict=comparison.verdict,
        old=median(median(pair.baseline) for pair in one.pairs),
        new=median(median(pair.current) for pair in one.pairs),
        old_runs=len(one.pairs),
        new_runs=len(one.pairs),
        comparison=comparison,
        reason="; ".join(reasons),
    )


def judge_builds(run: PairedRun, *, tolerance: float | None = None, confidence: float | None = None) -> list[Change]:
    """Return a verdict for everything that was compared or should have been; none stands where the run is void.

    `tolerance` and `confidence` stand in place of the run's own.
    """
    tolerance = run.tolerance if tolerance is None else tolerance
    confidence = run.confidence if confidence is None else confidence
    changes = [
        _change(one, judge_compared(one, tolerance=tolerance, confidence=confidence, asked=len(run.compared)))
        for one in run.compared
    ]
    if why_void(run):
        changes = [
            replace(one, verdict=INCONCLUSIVE, reason="the run is void") if one.verdict != INCONCLUSIVE else one
            for one in changes
        ]
    return [*changes, *(_unpaired(one) for one in run.unpaired if one.kind in {NEW, MISSING})]


def _unpaired(one: Unpaired) -> Change:
    return Change(operation=one.operation, metric="-", unit="s", better="lower", verdict=one.kind, reason=one.reason)


def judge_sentinels(run: PairedRun) -> tuple[Comparison, Comparison] | None:
    """Return what became of the baseline against itself, and against itself slowed; None where neither was measured."""
    if run.sentinels is None:
        return None
    same, slowed = (
        judge_pairs(pairs, tolerance=run.tolerance, confidence=run.confidence)
        for pairs in (run.sentinels.same, run.sentinels.slowed)
    )
    return same, slowed


def why_void(run: PairedRun) -> str:
    """Return why nothing that this run says can be believed, "" when it can.

    The baseline against itself must pass, and against itself slowed by more than the tolerance must regress.
    """
    sentinels = judge_sentinels(run)
    if sentinels is None or run.sentinels is None:
        return "void: no sentinel was measured, so nothing tells whether verdicts can be believed"
    same, slowed = sentinels
    name = ", ".join(run.sentinels.operations)
    if same.verdict != PASSED:
        return f"void: {name} of the baseline against itself was {_called(same)}, and had to pass"
    if slowed.verdict != REGRESSED:
        return (
            f"void: {name} of the baseline slowed by {run.sentinels.slowed_by:.1%} was {_called(slowed)}, "
            "and had to be found"
        )
    return ""


def record_in_words(watched: Sequence[tuple[Comparison, Comparison]]) -> list[str]:
    """Return how often sentinels were called wrongly, and missed, over many comparisons, each with its upper bound."""
    watched = [(same, slowed) for same, slowed in watched if same.p_value is not None and slowed.p_value is not None]
    if not watched:
        return ["no comparison went on for long enough to tell"]
    false = sum(same.verdict == REGRESSED for same, _ in watched)
    missed = sum(slowed.verdict != REGRESSED for _, slowed in watched)
    n = len(watched)
    return [
        f"false alarms: {false} of {n} ({_at_most(false, n)})",
        f"slowed and not found: {missed} of {n} ({_at_most(missed, n)})",
    ]


def _at_most(k: int, n: int) -> str:
    """Return the one-sided 95 % upper bound of a rate seen `k` times in `n`: Clopper and Pearson (1934)."""
    from scipy.special import betaincinv

    return f"at most {1.0 if k == n else float(betaincinv(k + 1, n - k, 0.95)):.1%}"


def _called(comparison: Comparison) -> str:
    if comparison.low is None or comparison.high is None:
        return f"called {comparison.verdict} ({'; '.join(comparison.warnings)})"
    return f"called {comparison.verdict} ({comparison.low - 1:+.1%} … {comparison.high - 1:+.1%})"


def own_verdict(run: PairedRun) -> RunVerdict:
    """Return what a comparison came to but for its changes: failed where a test fails with the current build alone."""
    broken = [one.operation.name for one in run.unpaired if one.kind == BROKEN]
    if broken:
        return RunVerdict(word=RUN_FAILED, sentence=f"Fails with the current build alone: {', '.join(broken)}.")
    return RunVerdict(word=PASSED, sentence="")


def problems_of(run: PairedRun) -> list[str]:
    """Return what keeps a comparison from a pass, whatever its changes say."""
    void = why_void(run)
    failed = [one.operation.name for one in run.unpaired if one.kind == FAILED]
    return [
        *([void] if void else []),
        *([f"failed with the baseline: {', '.join(failed)}"] if failed else []),
    ]


def warnings_of(run: PairedRun) -> list[str]:
    """Return what the reader of a comparison should know that is no change: what failed, what neither build offers."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in run.unpaired:
        if one.kind not in {NEW, MISSING}:
            groups.setdefault((one.kind, one.reason), []).append(one.operation.name)
    return [
        *run.notes,
        *run.left_out,
        *(f"{kind}: {', '.join(names)}: {reason}" for (kind, reason), names in groups.items()),
    ]


def settle(changes: Sequence[Change], by_builds: Sequence[Change]) -> list[Change]:
    """Return `changes` with those that a comparison of the two builds has a verdict on replaced by what it says."""
    said = {one.operation: one for one in by_builds if one.verdict in {PASSED, REGRESSED, IMPROVED}}
    return [
        replace(said[one.operation], reason=f"settled in lockstep; by the saved runs alone: {one.verdict}")
        if one.operation in said and one.verdict not in {MISSING, NEW}
        else one
        for one in changes
    ]


def settling_command(
    before: Mapping[str, Any], after: Mapping[str, Any], changes: Sequence[Change], tolerance: float
) -> str:
    """Return the command that would settle what is inconclusive in `changes`, "" where nothing is.

    `before` and `after` are the environments of the runs that were compared.
    """
    names = list(dict.fromkeys(one.operation.operation for one in changes if one.verdict == INCONCLUSIVE and one.new))
    if not names:
        return ""
    packages = [name for name in LIKELY if before.get("packages", {}).get(name) != after.get("packages", {}).get(name)]
    old, new = (_spec(environment, packages) for environment in (before, after))
    selected = f" -k '{' or '.join(names)}'"
    return f"nox -s ab -- --baseline '{old}' --current '{new}'{selected} --tolerance {tolerance:g}"


def _spec(environment: Mapping[str, Any], packages: Sequence[str]) -> str:
    """Return the pip requirements that make an environment anew: its khive, and what of the rest differs."""
    khive = environment.get("khive") or {}
    origin, commit = khive.get("origin") or "release", khive.get("commit")
    build = origin if origin != "release" else f"khive=={khive.get('version', '?')}"
    if "://" in origin and commit:
        build = f"git+{origin}@{commit}"
    installed = environment.get("packages", {})
    return " ".join([build, *(f"{name}=={installed[name]}" for name in packages if name in installed)])
