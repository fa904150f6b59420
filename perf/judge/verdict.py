"""What a whole run amounts to: one word, one sentence, one exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.judge.limits import BROKEN, INCONCLUSIVE, KNOWN_FAULT, MISSING, NOT_SELECTED, PASSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.limits import LimitVerdict
    from perf.record.run import Failure

FAILED = "failed"
EXIT_CODES = {PASSED: 0, FAILED: 1, INCONCLUSIVE: 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunVerdict:
    """`word` is "passed", "failed" or "inconclusive"; `sentence` says why, in plain English."""

    word: str
    sentence: str

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 inconclusive."""
        return EXIT_CODES[self.word]


def judge_run(limits: Sequence[LimitVerdict], failures: Sequence[Failure], *, untimed: str | None = None) -> RunVerdict:
    """Return the verdict of a run: it passes only when limits were judged and every one of them held.

    `untimed` says why no timing of this run can be judged (it ran in parallel, say), None when it can be.
    """
    counts = Counter(verdict.verdict for verdict in limits)
    failed = sum(failure.kind == "failed" for failure in failures)
    if counts[BROKEN] or failed:
        parts = [
            *([_count(counts[BROKEN], "limit") + " broken"] if counts[BROKEN] else []),
            *([_count(failed, "test") + " failed"] if failed else []),
        ]
        return RunVerdict(word=FAILED, sentence=f"{' and '.join(parts)}; {_count(counts[PASSED], 'limit')} held.")
    if untimed:
        return RunVerdict(word=INCONCLUSIVE, sentence=f"{untimed}: no timing was judged, so this is not a pass.")
    if reruns := sum(failure.kind == "rerun" for failure in failures):
        passed = f"{_count(reruns, 'test')} failed and passed only when run again"
        held = f"{_count(counts[PASSED], 'limit')} held"
        return RunVerdict(word=INCONCLUSIVE, sentence=f"{passed}, so this is not a pass; {held}.")
    if counts[MISSING] or counts[INCONCLUSIVE]:
        return RunVerdict(
            word=INCONCLUSIVE,
            sentence=f"{_count(counts[MISSING], 'limit')} missing a measurement, "
            f"{_count(counts[INCONCLUSIVE], 'limit')} with too few samples; {_count(counts[PASSED], 'limit')} held.",
        )
    if not counts[PASSED]:
        return RunVerdict(word=INCONCLUSIVE, sentence="No limit was judged: nothing this run measured has one.")
    faulty = sorted(f"{one.limit.service} {one.limit.name}" for one in limits if one.verdict == KNOWN_FAULT)
    skipped = sorted({verdict.limit.service for verdict in limits if verdict.verdict == NOT_SELECTED})
    rest = f"; not judged, for a known fault of this build: {', '.join(faulty)}" if faulty else ""
    rest += f"; not part of this run: limits of {', '.join(skipped)}" if skipped else ""
    held = "The one limit" if counts[PASSED] == 1 else f"All {counts[PASSED]} limits"
    return RunVerdict(word=PASSED, sentence=f"{held} that this run measured held{rest}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
