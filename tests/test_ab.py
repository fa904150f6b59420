"""Two builds in lockstep, judged: false alarms and power by simulation, sentinels, what settles a gate, saved files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from perf.errors import NoHistoryError, UnreadableRunError
from perf.judge.ab import (
    DETECTABLE,
    LOOKS,
    judge_builds,
    judge_pairs,
    own_verdict,
    problems_of,
    record_in_words,
    settle,
    settling_command,
    why_void,
)
from perf.judge.changes import Change
from perf.record.ab import BLOCKS, BROKEN, FAILED, Compared, Pair, PairedRun, Sentinels, Side, Unpaired, turn_figures
from perf.record.ab_store import all_paired, load_paired, save_paired
from perf.record.run import Measurement, Metric, Origin
from perf.record.summary import Operation

if TYPE_CHECKING:
    from pathlib import Path

    from perf.judge.comparison import Comparison

OPERATION = Operation("cache", "cache_get[1KiB]", "t.py::test_cache_get[1KiB]", "cache_get", "latency", 1)


def pairs(random: np.random.Generator, slower: float, count: int = LOOKS[-1], spread: float = 0.015) -> list[Pair]:
    """Return pairs whose log ratios differ by `spread` between processes, of eight blocks each."""
    made = []
    for _ in range(count):
        ratio = (1 + slower) * math.exp(random.normal(0, spread))
        noise = np.exp(random.normal(0, 0.004, (2, 8)))
        made.append(Pair((1e-3 * noise[0]).tolist(), (1e-3 * ratio * noise[1]).tolist()))
    return made


def looked_at(all_pairs: list[Pair], tolerance: float) -> tuple[str, int]:
    """Return the verdict at the first look that settles, and after how many pairs that is."""
    for look in LOOKS:
        found = judge_pairs(all_pairs[:look], tolerance=tolerance, confidence=0.99)
        if found.verdict != "inconclusive":
            return found.verdict, look
    return "inconclusive", LOOKS[-1]


def test_a_slowdown_of_just_the_tolerance_is_rarely_called_a_regression() -> None:
    """With all looks together at most 1 % of comparisons at the tolerance are called regressed."""
    random = np.random.default_rng(1)

    false = sum(looked_at(pairs(random, 0.02), 0.02)[0] == "regressed" for _ in range(600))

    assert false <= 11  # of 600 at 1 %: more than 11 has a chance below 2 %


def test_two_percent_beyond_the_tolerance_is_found() -> None:
    """Where pairs differ by 1.5 % a true +3 % is found nearly always at a tolerance of 1 %, within 32 pairs."""
    random = np.random.default_rng(2)

    found = [looked_at(pairs(random, 0.03), 0.01)[0] for _ in range(200)]

    assert found.count("regressed") >= 190


def test_the_same_code_passes_where_the_tolerance_can_be_seen() -> None:
    """The same code passes at 2 %, and never where the smallest change seen is above the tolerance."""
    random = np.random.default_rng(3)
    quiet = [judge_pairs(pairs(random, 0.0), tolerance=0.02, confidence=0.99) for _ in range(100)]
    noisy = [judge_pairs(pairs(random, 0.0, spread=0.05), tolerance=0.02, confidence=0.99) for _ in range(100)]

    assert sum(one.verdict == "passed" for one in quiet) >= 90
    assert all(one.verdict != "passed" for one in noisy)


def test_a_pair_that_is_far_off_neither_hides_a_regression_nor_makes_one() -> None:
    """Where one pair in sixteen is off by up to ten times, +3 % is found at 1 % and the same code is not called."""
    random = np.random.default_rng(7)

    def disturbed(slower: float) -> list[Pair]:
        factors = [10 ** random.uniform(-1, 1) if random.random() < 1 / 16 else 1.0 for _ in range(LOOKS[-1])]
        return [
            Pair(pair.baseline, [factor * block for block in pair.current])
            for pair, factor in zip(pairs(random, slower), factors, strict=True)
        ]

    found = [looked_at(disturbed(0.03), 0.01)[0] for _ in range(100)]
    false = [looked_at(disturbed(0.0), 0.01)[0] for _ in range(200)]

    assert found.count("regressed") >= 85
    assert false.count("regressed") <= 2


def test_what_comes_between_looks_is_not_looked_at() -> None:
    """Eight pairs are judged as the first six, and five not at all."""
    random = np.random.default_rng(4)
    eight = pairs(random, 0.5, 8)

    assert judge_pairs(eight, tolerance=0.02, confidence=0.99) == judge_pairs(
        eight[:6], tolerance=0.02, confidence=0.99
    )
    assert judge_pairs(eight[:5], tolerance=0.02, confidence=0.99).verdict == "inconclusive"


def test_many_asked_together_are_held_to_more() -> None:
    """What is regressed by itself may not be among many that share the error."""
    random = np.random.default_rng(5)
    some = pairs(random, 0.08, 6)
    alone, among_many = (judge_pairs(some, tolerance=0.02, confidence=0.99, asked=asked) for asked in (1, 10_000))

    assert alone.verdict == "regressed"
    assert among_many.verdict == "inconclusive"


def test_higher_is_better_for_a_throughput() -> None:
    """Half the throughput is a regression, twice the throughput an improvement."""
    half, twice = ([Pair([100.0 + i], [share * (100.0 + i)]) for i in range(6)] for share in (0.5, 2.0))
    asked: dict[str, Any] = {"tolerance": 0.02, "confidence": 0.99, "higher_is_better": True}

    assert judge_pairs(half, **asked).verdict == "regressed"
    assert judge_pairs(twice, **asked).verdict == "improved"


def test_blocks_that_do_not_take_the_same_time_have_no_verdict() -> None:
    """Where the fast or the slow blocks say one thing and the middle of them another, neither is believed."""
    fast, slow = ([Pair([1.0] * 16, [1.0] * n + [1.5 + i / 1000] * (16 - n)) for i in range(6)] for n in (6, 11))

    found = [judge_pairs(one, tolerance=0.02, confidence=0.99) for one in (fast, slow)]

    assert [one.verdict for one in found] == ["inconclusive"] * 2
    assert "the faster quarter +0.0%" in found[0].warnings[0]
    assert "the slower quarter +50" in found[1].warnings[0]


def a_run(slower: float = 0.0, *, same: float = 0.0, slowed: float = 0.04, **parts: Any) -> PairedRun:  # noqa: ANN401
    random = np.random.default_rng(6)
    side = Side(spec="khive==0.4.0", build="khive 0.4.0", environment={"packages": {}})
    usual: dict[str, Any] = {
        "created": "2026-11-25T04:00:00+00:00",
        "profile": "dev",
        "tolerance": 0.02,
        "confidence": 0.99,
        "baseline": side,
        "current": side,
        "compared": [
            Compared(
                operation=OPERATION, metric="median", unit="s", better="lower", by=BLOCKS, pairs=pairs(random, slower)
            )
        ],
        "unpaired": [],
        "sentinels": Sentinels(
            operations=["cache_get[1KiB]"],
            slowed_by=1.02 * (1 + DETECTABLE) - 1,
            same=pairs(random, same),
            slowed=pairs(random, slowed),
        ),
        "seconds": 60.0,
    }
    return PairedRun(**{**usual, **parts})


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, ""),
        ({"same": 0.2}, "against itself was called regressed"),
        ({"slowed": 0.0}, "had to be found"),
        ({"sentinels": None}, "no sentinel was measured"),
    ],
)
def test_a_run_whose_sentinels_fail_is_void(parts: dict[str, Any], reason: str) -> None:
    """Unless the baseline passes against itself and is found when slowed, no verdict of the run stands."""
    run = a_run(0.3, **parts)
    [change] = judge_builds(run)

    assert reason in why_void(run)
    assert bool(problems_of(run)) is bool(reason)
    assert change.verdict == ("inconclusive" if reason else "regressed")


def test_what_breaks_with_the_current_build_alone_fails_the_run() -> None:
    """A test that fails with the current build is red; one that fails with the baseline keeps the run from a pass."""
    broken, failed = (
        a_run(unpaired=[Unpaired(operation=OPERATION, kind=kind, reason="it raised")]) for kind in (BROKEN, FAILED)
    )

    assert own_verdict(broken).word == "failed"
    assert own_verdict(failed).word == "passed"
    assert "cache_get[1KiB]" in problems_of(failed)[0]


def change(verdict: str, comparison: Comparison | None = None) -> Change:
    return Change(
        operation=OPERATION, metric="median", unit="s", better="lower", verdict=verdict, old=1.0, new=1.0,
        comparison=comparison,
    )  # fmt: skip


def test_a_comparison_settles_what_saved_runs_leave_open() -> None:
    """A verdict of lockstep stands in place of the one by saved runs; an open one changes nothing."""
    [settled] = settle([change("inconclusive")], [change("regressed")])
    [left] = settle([change("regressed")], [change("inconclusive")])

    assert settled.verdict == "regressed"
    assert "inconclusive" in settled.reason
    assert left.verdict == "regressed"


def test_the_command_that_would_settle_it_makes_both_environments_anew() -> None:
    """It names both builds, what of their dependencies differs, and the operations that are open."""
    khive = {"version": "0.4.0", "origin": "release", "commit": None}
    before = {"khive": khive, "packages": {"lionagi": "0.15.9", "pydantic": "2.1"}}
    after = {
        "khive": {"version": "0.5.0", "origin": "https://github.com/khive-ai/khive.d", "commit": "51b0c2a"},
        "packages": {"lionagi": "0.15.11", "pydantic": "2.1"},
    }

    command = settling_command(before, after, [change("inconclusive"), change("passed")], 0.2)

    assert command == (
        "nox -s ab -- --baseline 'khive==0.4.0 lionagi==0.15.9' "
        "--current 'git+https://github.com/khive-ai/khive.d@51b0c2a lionagi==0.15.11' -k 'cache_get' --tolerance 0.2"
    )
    assert settling_command(before, after, [change("passed")], 0.2) == ""


def test_the_record_counts_false_alarms_and_misses() -> None:
    """Over all comparisons, how often the same code was called regressed and slowed code was not, with bounds."""
    good = judge_pairs(pairs(np.random.default_rng(7), 0.0), tolerance=0.02, confidence=0.99)
    bad = judge_pairs(pairs(np.random.default_rng(8), 0.5), tolerance=0.02, confidence=0.99)

    short = judge_pairs([], tolerance=0.02, confidence=0.99)

    lines = record_in_words([(good, bad), (bad, good), (short, short)])

    assert lines == ["false alarms: 1 of 2 (at most 97.5%)", "slowed and not found: 1 of 2 (at most 97.5%)"]


def test_a_saved_comparison_comes_back(tmp_path: Path) -> None:
    """By latest, number, name and path the same comparison comes back as it was saved."""
    run = a_run(0.1)
    save_paired(a_run(), tmp_path)
    path = save_paired(run, tmp_path)

    assert {load_paired(spec, tmp_path).created for spec in ("latest", "2", path.name, str(path))} == {run.created}
    assert load_paired("latest", tmp_path) == run
    assert len(all_paired(tmp_path)[0]) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 9}', b"\xff", b'{"format": 1}'])
def test_a_damaged_comparison_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """What is no comparison is named with its path, and never passed over for an older one."""
    save_paired(a_run(), tmp_path)
    (tmp_path / "0002_dev_x.json").write_bytes(content)

    with pytest.raises(UnreadableRunError) as caught:
        load_paired("latest", tmp_path)

    assert "0002_dev_x.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(all_paired(tmp_path)[1]) == 1


def test_without_a_comparison_it_is_said(tmp_path: Path) -> None:
    """Where none is saved, or none of that name, the line says how to get one."""
    with pytest.raises(NoHistoryError, match="nox -s ab"):
        load_paired("latest", tmp_path)
    with pytest.raises(UnreadableRunError, match="nonesuch"):
        load_paired("nonesuch", tmp_path)


def test_the_format_of_saved_comparisons_is_kept() -> None:
    """A comparison is JSON with its format version first; what is not known later is refused by that."""
    assert msgspec.json.encode(a_run()).startswith(b'{"format":1,')


@pytest.mark.parametrize(
    ("kind", "metric", "better"),
    [
        ("load", "throughput", "higher"),
        ("open load", "p95_response_time", "lower"),
        ("knee", "highest_rate", "higher"),
        ("overhead", "overhead", "lower"),
    ],
)
def test_a_whole_turn_gives_one_figure_of_each_load(kind: str, metric: str, better: str) -> None:
    """Of all that a load measured its one figure is compared between builds, and memory has none."""
    metrics = {metric: Metric(2.0, "1", better), "another": Metric(9.0, "1", "higher")}
    measurement = Measurement(
        origin=Origin(test="a test", service="cache", category="scalability", operation="cache"),
        kind=kind,
        operation="cache_load",
        subject="a subject",
        metrics=metrics,
    )

    (figure,) = turn_figures([measurement, msgspec.structs.replace(measurement, kind="memory")])

    assert (figure.operation.name, figure.metric, figure.better, figure.value) == ("cache_load", metric, better, 2.0)
