"""One judgement of two sets of runs: limits, changes and completeness, one word and one sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.judge.changes import MISSING, NEW, NOT_COMPARABLE
from perf.judge.comparison import IMPROVED, INCONCLUSIVE, PASSED, REGRESSED
from perf.judge.verdict import FAILED, RunVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.changes import Change
    from perf.judge.limits import LimitVerdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What became of runs, `current`, against others, `baseline`, with all the evidence; runs are named by their files.

    `history` is how many runs before the baseline stand behind it; all of them were made from `began` to `ended`, UTC
    in ISO 8601. `differences` are the versions that differ between
    the two, likely causes first; `warnings` what the reader should know that changes no verdict; `next_step` what
    would settle what is open. Each change rests on so many `replicates`: runs, or pairs of processes.
    """

    profile: str
    baseline: tuple[str, ...]
    history: int
    current: tuple[str, ...]
    began: str
    ended: str
    tolerance: float
    confidence: float
    limits: tuple[LimitVerdict, ...]
    changes: tuple[Change, ...]
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    next_step: str = ""
    replicates: str = "runs"
    verdict: RunVerdict


def judge_together(
    limits: RunVerdict, changes: Sequence[Change], problems: Sequence[str] = (), *, label: str = "Limits: "
) -> RunVerdict:
    """Return one verdict of the current run's limits and of all changes; each of `problems` keeps it from a pass.

    It is "failed" on a broken limit, a failed test or a regression. It is "passed" only when every limit was judged
    and held, every operation of the baseline was measured again, and each was shown not to be slower. `label` comes
    before what the limits came to.
    """
    counts = Counter(one.verdict for one in changes)
    judged = f"{_count(counts[PASSED] + counts[IMPROVED], 'operation')} not slower"
    if counts[IMPROVED]:
        judged += f", {counts[IMPROVED]} of them faster"
    if counts[REGRESSED]:
        worst = max((one for one in changes if one.verdict == REGRESSED), key=lambda one: one.worse or 0.0)
        name = f"{worst.operation.service} {worst.operation.name}"
        sentence = f"{_count(counts[REGRESSED], 'operation')} regressed, worst {name} ({worst.worse:.2f} times as bad)"
        return RunVerdict(word=FAILED, sentence=f"{sentence}; {judged}.{_after(label, limits)}")
    if limits.word == FAILED:
        return RunVerdict(word=FAILED, sentence=f"{limits.sentence} Nothing was shown to have regressed; {judged}.")
    open_questions = [
        *problems,
        *(
            f"{_count(counts[word], 'operation')} {word}"
            for word in (MISSING, NOT_COMPARABLE, INCONCLUSIVE)
            if counts[word]
        ),
        *(["no operation was compared"] if not counts[PASSED] + counts[IMPROVED] else []),
    ]
    if open_questions:
        sentence = f"No pass, no fail: {'; '.join(open_questions)}; {judged}.{_after(label, limits)}"
        return RunVerdict(word=INCONCLUSIVE, sentence=sentence)
    if limits.word == INCONCLUSIVE:
        return RunVerdict(word=INCONCLUSIVE, sentence=f"{limits.sentence} Nothing regressed; {judged}.")
    new = f"; {_count(counts[NEW], 'operation')} new" if counts[NEW] else ""
    return RunVerdict(word=PASSED, sentence=f"Nothing regressed: {judged}{new}. {limits.sentence}".rstrip())


def _after(label: str, limits: RunVerdict) -> str:
    return f" {label}{limits.sentence}" if limits.sentence else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
