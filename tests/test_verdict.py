from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest

from perf.judge.limits import BROKEN, INCONCLUSIVE, KNOWN_FAULT, MISSING, NOT_SELECTED, PASSED, LimitVerdict
from perf.judge.thresholds import Limit
from perf.judge.verdict import judge_run
from perf.record.run import Failure, Origin

WORDS = (PASSED, BROKEN, INCONCLUSIVE, MISSING, NOT_SELECTED, KNOWN_FAULT)


def limits(*words: str, service: str = "cache") -> list[LimitVerdict]:
    rule = Limit(service=service, name="a_ms", operation="a", statistic="p95", bound=1.0, source="a test")
    return [LimitVerdict(limit=rule, verdict=word) for word in words]


def failure(kind: str = "failed") -> Failure:
    origin = Origin(test="t.py::test_one", service="cache", category="benchmark", operation="one")
    return Failure(origin=origin, kind=kind, reason="a reason")


def test_a_pass_needs_a_limit_that_held_and_nothing_against_it() -> None:
    """Of all mixes of verdicts, failures and untimed runs, only held limits beside unselected or faulty ones pass."""
    mixes = [mix for size in range(4) for mix in combinations_with_replacement(WORDS, size)]
    passing = {
        (mix, failed, untimed)
        for mix, failed, untimed in product(mixes, (0, 1), (None, "Tests ran in parallel"))
        if judge_run(limits(*mix), [failure()] * failed, untimed=untimed).word == "passed"
    }

    held = {mix for mix in mixes if PASSED in mix and set(mix) <= {PASSED, NOT_SELECTED, KNOWN_FAULT}}
    assert passing == {(mix, 0, None) for mix in held}


@pytest.mark.parametrize(
    ("words", "failed", "untimed", "word", "code"),
    [
        ((PASSED,), 0, None, "passed", 0),
        ((PASSED, NOT_SELECTED), 0, None, "passed", 0),
        ((), 0, None, "inconclusive", 3),
        ((NOT_SELECTED,), 0, None, "inconclusive", 3),
        ((PASSED, MISSING), 0, None, "inconclusive", 3),
        ((PASSED, INCONCLUSIVE), 0, None, "inconclusive", 3),
        ((PASSED,), 0, "Tests ran in parallel", "inconclusive", 3),
        ((), 0, "Tests ran in parallel", "inconclusive", 3),
        ((BROKEN, MISSING, INCONCLUSIVE, PASSED), 0, None, "failed", 1),
        ((PASSED,), 1, None, "failed", 1),
        ((), 1, None, "failed", 1),
        ((BROKEN,), 0, "Tests ran in parallel", "failed", 1),
        ((PASSED,), 1, "Tests ran in parallel", "failed", 1),
    ],
)
def test_the_worst_decides(words: tuple[str, ...], failed: int, untimed: str | None, word: str, code: int) -> None:
    """A broken limit or failed test fails the run, else a gap in the evidence makes it inconclusive."""
    verdict = judge_run(limits(*words), [failure()] * failed, untimed=untimed)

    assert (verdict.word, verdict.exit_code) == (word, code)


@pytest.mark.parametrize(
    ("words", "failed", "untimed", "said"),
    [
        ((BROKEN, PASSED), 0, None, ("1 limit broken", "1 limit held")),
        ((BROKEN, BROKEN), 2, None, ("2 limits broken", "2 tests failed", "0 limits held")),
        ((MISSING, PASSED), 0, None, ("1 limit missing", "1 limit held")),
        ((INCONCLUSIVE, INCONCLUSIVE), 0, None, ("2 limits with too few samples",)),
        ((PASSED,), 0, "Tests ran in parallel", ("Tests ran in parallel", "not a pass")),
        ((), 0, None, ("No limit was judged",)),
        ((PASSED, PASSED), 0, None, ("All 2 limits", "held")),
    ],
)
def test_the_sentence_gives_the_counts(
    words: tuple[str, ...], failed: int, untimed: str | None, said: tuple[str, ...]
) -> None:
    """The sentence says what decided and how much of it there was, in one line."""
    sentence = judge_run(limits(*words), [failure()] * failed, untimed=untimed).sentence

    assert [part for part in said if part not in sentence] == []
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_pass_names_the_services_it_is_not_about() -> None:
    """A pass of part of the suite says, once each, whose limits were not part of the run."""
    unselected = [*limits(NOT_SELECTED, NOT_SELECTED, service="session"), *limits(NOT_SELECTED, service="planning")]

    sentence = judge_run([*limits(PASSED), *unselected], []).sentence

    assert "limits of planning, session" in sentence


def test_what_a_build_does_not_offer_is_no_failed_test() -> None:
    """An operation that the khive build lacks does not fail the run, nor does it make it pass."""
    verdict = judge_run([], [failure("not offered")])

    assert verdict.word == "inconclusive"


@pytest.mark.parametrize(("words", "word"), [((PASSED,), "inconclusive"), ((PASSED, BROKEN), "failed")])
def test_a_pass_on_a_rerun_is_no_pass(words: tuple[str, ...], word: str) -> None:
    """A test that passed only when run again takes the pass from a run, and nothing from a failure."""
    verdict = judge_run(limits(*words), [failure("rerun")])

    assert verdict.word == word
    assert "1 limit held" in verdict.sentence


def test_a_pass_names_the_limits_a_known_fault_keeps_it_from() -> None:
    """A pass beside known faults says, limit by limit, what it is not about."""
    faulty = [*limits(KNOWN_FAULT, service="session"), *limits(KNOWN_FAULT, service="artifacts")]

    verdict = judge_run([*limits(PASSED), *faulty], [failure("known fault")])

    assert verdict.word == "passed"
    assert "not judged, for a known fault of this build: artifacts a_ms, session a_ms" in verdict.sentence


def test_a_known_fault_alone_is_no_pass() -> None:
    """A run of which nothing held because the build fails in a known way has not passed."""
    verdict = judge_run(limits(KNOWN_FAULT), [failure("known fault")])

    assert verdict.word == "inconclusive"
