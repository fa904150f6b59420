from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from perf.judge.changes import (
    Change,
    benjamini_hochberg,
    holm,
    judge_changes,
    service_means,
    that_stand,
    why_not_comparable,
)
from perf.judge.comparison import Comparison
from perf.judge.gate import judge_together
from perf.judge.verdict import RunVerdict
from perf.record.run import Metric
from perf.record.summary import Figures, Operation, RunSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FINE = RunVerdict(word="passed", sentence="All limits held.")


def operation(name: str, kind: str = "latency", concurrency: int = 1) -> Operation:
    return Operation(name.partition("_")[0], name, f"benchmarks/test.py::test_{name}", name, kind, concurrency)


def run(number: int, seconds: float = 0.001, *, name: str = "cache_get", metric: Metric | None = None) -> RunSummary:
    figures = Figures(operation(name), {"median": metric or Metric(seconds, "s", "lower")}, 30)
    return RunSummary(
        number=number, name=f"{number:04}_dev.json", profile="dev", created="2026-11-24T12:00:00+00:00", commit=None,
        build="khive 0.4.0", verdict="passed", machine="2 × CPU", settings="rounds 25", untimed=None, figures=[figures],
    )  # fmt: skip


def judged(old: Sequence[RunSummary], new: Sequence[RunSummary]) -> Change:
    (change,) = judge_changes(old[-1:], new, old[:-1], tolerance=0.2, confidence=0.99)
    return change


def change(verdict: str, ratio: float = 1.0, p_value: float | None = None, name: str = "cache_get") -> Change:
    return Change(
        operation=operation(name), metric="median", unit="s", better="lower", verdict=verdict, old=1.0, new=ratio,
        old_runs=9, new_runs=1, comparison=Comparison(verdict=verdict, ratio=ratio, p_value=p_value),
    )  # fmt: skip


def test_half_a_microsecond_is_no_regression() -> None:
    """What is below a microsecond counts as one: three times as long is no change there, and is one above it."""
    quick = judged([run(n, 0.2e-6) for n in range(9)], [run(9, 0.6e-6)])
    slow = judged([run(n, 2e-6) for n in range(9)], [run(9, 6e-6)])

    assert [quick.verdict, slow.verdict] == ["passed", "regressed"]


def test_five_quiet_runs_are_no_proof_among_disturbed_ones() -> None:
    """Where other operations had a run far out, one run 1.6 times as slow is a suspect; a second one confirms it."""
    quiet = [0.00198, 0.00199, 0.00197, 0.00196, 0.00197]
    noisy = [0.07, 0.07, 0.13, 0.07, 0.08]
    for neighbour, runs, verdict in ((quiet, 1, "regressed"), (noisy, 1, "inconclusive"), (noisy, 2, "regressed")):
        old = [two(n, quiet[n], neighbour[n]) for n in range(5)]
        new = [two(9 + n, 0.00325, neighbour[0]) for n in range(runs)]
        changes = judge_changes(old[-1:], new, old[:-1], tolerance=0.2, confidence=0.99)
        assert changes[0].verdict == verdict


def test_one_run_a_third_slower_is_a_suspect() -> None:
    """However quiet its history, one run must be 1.4 times as slow to be believed; two that are a third slower are."""
    old = [run(n, 0.001 * (1 + 0.001 * n)) for n in range(9)]

    assert judged(old, [run(9, 0.00135)]).reason.startswith("suspect: slower, but disturbed runs")
    assert judged(old, [run(9, 0.00135), run(10, 0.00136)]).verdict == "regressed"


def two(number: int, seconds: float, neighbour: float) -> RunSummary:
    return msgspec.structs.replace(
        run(number), figures=[*run(number, seconds).figures, *run(number, neighbour, name="cache_set").figures]
    )


def test_memory_of_nothing_can_be_compared() -> None:
    """Memory that did not grow, or shrank, counts as a page; growth from there to megabytes has regressed."""
    none = [run(n, metric=Metric(value, "B", "lower")) for n, value in enumerate([0.0, -4096.0, 0.0, 0.0, 0.0])]

    assert judged(none, [run(9, metric=Metric(0.0, "B", "lower"))]).verdict == "passed"
    assert judged(none, [run(9, metric=Metric(5e6, "B", "lower"))]).verdict == "regressed"


def test_no_throughput_at_all_is_a_regression() -> None:
    """A load of which no operation got done is worse than any history, and computing that raises nothing."""
    old = [run(n, metric=Metric(1000.0, "1/s", "higher")) for n in range(9)]

    assert judged(old, [run(9, metric=Metric(0.0, "1/s", "higher"))]).verdict == "regressed"


@pytest.mark.parametrize(("correct", "most"), [(holm, 13), (benjamini_hochberg, 13)])
def test_a_suite_is_falsely_called_as_rarely_as_one(
    correct: Callable[[Sequence[float], float], set[int]], most: int
) -> None:
    """Of 600 suites of 60 operations without a change about 1 % have any that stands: 13 would be too many."""
    random = np.random.default_rng(1)

    suites = sum(bool(correct(list(random.uniform(size=60)), 0.01)) for _ in range(600))

    assert suites < most


def test_a_clear_regression_stands_among_many() -> None:
    """One far smaller p-value stands among sixty, by either correction; a mere suspect does not."""
    p_values = [0.5] * 58 + [1e-9, 0.009]

    assert holm(p_values, 0.01) == {58}
    assert benjamini_hochberg(p_values, 0.01) == {58}


def test_a_suspect_is_inconclusive_and_says_why() -> None:
    """A regression by itself that does not stand among all asked is no verdict, and no pass."""
    suspect = change("regressed", 1.5, 0.005)

    changes = that_stand([suspect, *[change("passed", 1.0, 0.9)] * 9], 0.01, holm)

    assert changes[0].verdict == "inconclusive"
    assert "suspect: slower by itself, not among 10 asked at once" in changes[0].reason
    assert that_stand([suspect], 0.01, holm) == [suspect]


def test_service_means_turn_throughput_round() -> None:
    """Half the throughput and twice the time are both twice as bad, so their mean is 2."""
    rate = Change(
        operation=operation("cache_at_once", "load", 5), metric="throughput", unit="1/s", better="higher",
        verdict="regressed", old=1000.0, new=500.0,
    )  # fmt: skip

    (mean,) = service_means([rate, change("regressed", 2.0)])

    assert (mean.service, mean.operations) == ("cache", 2)
    assert mean.worse == pytest.approx(2.0)


def test_equal_runs_can_be_compared() -> None:
    """Nothing keeps runs of one profile, machine and settings from being compared, whatever their builds."""
    assert why_not_comparable([run(1), run(2)]) == ""


@pytest.mark.parametrize(
    ("verdicts", "limits", "word"),
    [
        (["passed"], "passed", "passed"),
        (["passed", "improved", "new"], "passed", "passed"),
        (["passed", "regressed", "missing"], "passed", "failed"),
        (["passed"], "failed", "failed"),
        (["passed", "missing"], "failed", "failed"),
        (["passed", "missing"], "passed", "inconclusive"),
        (["passed", "not comparable"], "passed", "inconclusive"),
        (["passed", "inconclusive"], "passed", "inconclusive"),
        (["new"], "passed", "inconclusive"),
        ([], "passed", "inconclusive"),
        (["passed"], "inconclusive", "inconclusive"),
    ],
)
def test_one_word_for_all(verdicts: list[str], limits: str, word: str) -> None:
    """Only limits that held and operations shown not to be slower make a pass; what broke outweighs what is unknown."""
    changes = [change(verdict, 1.5 if verdict == "regressed" else 1.0) for verdict in verdicts]

    assert judge_together(RunVerdict(word=limits, sentence="The limits."), changes).word == word


def test_a_problem_is_never_a_pass() -> None:
    """What keeps runs from being judged at all is said first, and is no pass."""
    found = judge_together(FINE, [change("passed")], ["nothing was measured since the baseline was"])

    assert found.word == "inconclusive"
    assert found.sentence.startswith("No pass, no fail: nothing was measured since the baseline was")


def test_the_old_figure_is_the_level_that_was_judged_against() -> None:
    """After a step in the history `old` and the change are those of the present level, not of all runs before."""
    history = [run(n, 0.001) for n in range(10)] + [run(n, 0.002) for n in range(10, 20)]

    found = judged(history, [run(20, 0.002)])

    assert found.old == pytest.approx(0.002)
    assert found.worse == pytest.approx(1.0)


def test_what_has_no_figure_that_is_judged_is_missing_when_it_drops_out() -> None:
    """An operation that only holds figures of the user's own is compared in none, and still is not lost unseen."""
    own = Figures(operation("cache_hits", "process"), {"hit_ratio": Metric(0.7, "1", "higher")}, 0)
    old = msgspec.structs.replace(run(1), figures=[*run(1).figures, own])

    changes = judge_changes([old], [run(2)], tolerance=0.2, confidence=0.99)
    kept = judge_changes([old], [msgspec.structs.replace(old, number=2)], tolerance=0.2, confidence=0.99)

    assert [one.operation.name for one in changes if one.verdict == "missing"] == ["cache_hits"]
    assert not [one for one in kept if one.verdict == "missing"]


def test_a_run_spends_only_what_its_own_operations_are_looked_at() -> None:
    """A look at one operation takes nothing from another that the run did not measure."""
    once, thrice = (replace(change("regressed", 1.5, p_value=0.004), new_runs=runs) for runs in (1, 3))

    stands = that_stand([once], 0.01, holm, at_each_run=True)
    falls = that_stand([thrice], 0.01, holm, at_each_run=True)

    assert [stands[0].verdict, falls[0].verdict] == ["regressed", "inconclusive"]


@pytest.mark.parametrize(
    ("kind", "metric", "judged_by_itself"),
    [("growth", "kept_per_call", True), ("growth", "peak_per_call", False), ("knee", "highest_rate", False)],
)
def test_what_differs_much_by_chance_is_judged_only_when_asked_for(
    kind: str,
    metric: str,
    judged_by_itself: bool,  # noqa: FBT001 - a case
) -> None:
    """What a call keeps is judged in every comparison; its peak and a highest rate are where they are named."""
    figures = [Figures(operation("plan_leak", kind), {metric: Metric(5e5, "B", "lower")}, 0)]
    runs = [msgspec.structs.replace(run(number), figures=figures) for number in range(7)]

    usual = judge_changes(runs[5:6], runs[6:], runs[:5], tolerance=0.2, confidence=0.99)
    named = judge_changes(runs[5:6], runs[6:], runs[:5], tolerance=0.2, confidence=0.99, metric=metric)

    assert [change.metric for change in usual] == ([metric] if judged_by_itself else [])
    assert [(change.metric, change.verdict) for change in named] == [(metric, "passed")]
