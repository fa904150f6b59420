"""Verdicts on growth of memory, by simulation: what levels off, steps or wanders is no leak, what leaks is one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from evaluation.leaks import BATCH, CALLS, KIB, LEAKS, MIB, NO_LEAKS, fills, growth, noise
from perf import judge_growth
from perf.measure.growth import BATCHES, TRACED_BATCHES

if TYPE_CHECKING:
    from evaluation.leaks import Draw

TRIALS = 200


def verdicts(draw: Draw) -> Counter[str]:
    random = np.random.default_rng(20261125)
    return Counter(judge_growth(growth(draw(random))).verdict for _ in range(TRIALS))


@pytest.mark.parametrize("name", NO_LEAKS)
def test_what_is_no_leak_is_not_called_one(name: str) -> None:
    """At most one in a hundred of what levels off, steps or wanders is called leaking."""
    assert verdicts(NO_LEAKS[name])["leaking"] <= TRIALS / 100


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found(name: str) -> None:
    """95 in a hundred leaks of 1000 B a call in noise, and of 200 B in less, are found, and none is called stable."""
    found = verdicts(LEAKS[name])

    assert found["leaking"] >= 0.95 * TRIALS
    assert found["stable"] == 0


@pytest.mark.parametrize("name", ["nothing", "two thirds full after 2"])
def test_what_levels_off_early_is_stable(name: str) -> None:
    """What is level, or filled within the first batches, is stable nearly always."""
    assert verdicts(NO_LEAKS[name])["stable"] >= 0.95 * TRIALS


def test_noise_is_not_called_stable() -> None:
    """Where chance hides a leak of the tolerance, the verdict is inconclusive and says what could not be seen."""
    verdict = judge_growth(growth(NO_LEAKS["noise of 10 MiB"](np.random.default_rng(3))))

    assert verdict.verdict == "inconclusive"
    assert "differs by chance too much to see a leak of less than" in verdict.by.why


@pytest.mark.parametrize(
    ("own", "traced", "word", "memory"),
    [
        (0, 0, "stable", "Python memory"),
        (1000, 0, "leaking", "own memory"),
        (0, 1000, "inconclusive", "Python memory"),
        (1000, 1000, "leaking", "Python memory"),
    ],
)
def test_either_memory_can_leak_and_both_must_be_stable(own: int, traced: int, word: str, memory: str) -> None:
    """One that leaks decides, Python's first, whose sites are known; but what is traced must show in the whole."""
    traced_batches = np.arange(1, TRACED_BATCHES + 1) * traced * CALLS

    verdict = judge_growth(growth(BATCH * own * CALLS, traced_batches))

    assert (verdict.verdict, verdict.by.memory) == (word, memory)


@pytest.mark.parametrize(("blocks", "word"), [(0.0, "inconclusive"), (0.1, "inconclusive"), (1.0, "leaking")])
def test_a_leak_that_fills_free_room_shows_in_blocks(blocks: float, word: str) -> None:
    """Where a process takes nothing more from the system a leak has a block a call more, a replacement has not."""
    traced_batches = np.arange(1, TRACED_BATCHES + 1) * 3000.0 * CALLS

    small = [round(number * blocks * CALLS) for number in range(1, TRACED_BATCHES + 1)]

    memory = msgspec.structs.replace(growth([0] * BATCHES, traced_batches), blocks=small)

    assert judge_growth(memory).verdict == word


def test_while_pythons_memory_still_fills_nothing_is_called_a_leak() -> None:
    """The whole process was read before what was traced, and may have been filling too."""
    filling = 500.0 * CALLS * TRACED_BATCHES * (1 - np.exp(-np.arange(1, TRACED_BATCHES + 1) / 6))

    verdict = judge_growth(growth(1000.0 * CALLS * BATCH, filling))

    assert verdict.verdict == "inconclusive"
    assert {slope.why for slope in verdict.slopes} == {
        "Python memory still fills: later calls keep less than earlier ones"
    }


@pytest.mark.parametrize(("calls", "word"), [(1, "inconclusive"), (3, "inconclusive"), (20, "leaking")])
def test_a_leak_takes_calls_enough_to_tell_it_from_a_cache(calls: int, word: str) -> None:
    """3 kB a call of a few calls may be caches that fill, of some hundreds they are a leak."""
    sizes = 3000.0 * calls * BATCH

    verdict = judge_growth(msgspec.structs.replace(growth(sizes, sizes[:TRACED_BATCHES]), calls=calls))

    assert verdict.verdict == word
    assert ("as caches do" in verdict.by.why) is (word == "inconclusive")


def test_a_slope_is_in_bytes_a_call() -> None:
    """The slope of exact readings is exact, and so are its bounds."""
    by = judge_growth(growth(1234.0 * CALLS * BATCH)).by

    assert (by.per_call, by.low, by.high) == (1234.0, 1234.0, 1234.0)


def test_the_interval_holds_the_truth() -> None:
    """Of leaks in independent noise, at least as many intervals as the confidence says hold the true slope."""
    random = np.random.default_rng(7)
    slopes = [
        judge_growth(growth(300.0 * CALLS * BATCH + noise(random, 200 * KIB))).slopes[1] for _ in range(4 * TRIALS)
    ]

    held = [slope.low <= 300.0 <= slope.high for slope in slopes if slope.warm_up == 0]

    assert len(held) > 3 * TRIALS
    assert sum(held) >= 0.98 * len(held)


def test_the_warm_up_is_left_out() -> None:
    """Batches in which memory grew faster than later are recognised, and no part of the slope."""
    by = judge_growth(growth(1000.0 * CALLS * BATCH + fills(1.5, 50 * MIB))).by

    assert by.warm_up == 3
    assert by.per_call == pytest.approx(1000.0, rel=0.02)


def test_the_tolerance_is_the_callers() -> None:
    """150 B a call are a leak by the usual tolerance, and none to who tolerates more."""
    leak = growth(150.0 * CALLS * BATCH)

    assert judge_growth(leak).verdict == "leaking"
    assert judge_growth(leak, tolerance=200.0).verdict == "stable"


def test_resident_memory_judges_where_the_systems_tells_no_more() -> None:
    """Without the process's own memory all that is resident decides, under its name."""
    rss = [int(1000 * CALLS * number) for number in BATCH]
    without = msgspec.structs.replace(growth([]), rss=rss)

    by = judge_growth(without).by

    assert (by.memory, by.verdict) == ("resident memory", "leaking")


def test_what_was_left_open_is_named() -> None:
    """What is more afterwards is named with how much more; what is less, or as much, is not."""
    before, after = {"files": 3, "tasks": 1, "threads": 2}, {"files": 7, "tasks": 1, "threads": 1}

    verdict = judge_growth(msgspec.structs.replace(growth([0] * BATCHES), before=before, after=after))

    assert verdict.opened == {"files": 4}
