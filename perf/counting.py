"""Which of the operations that were compared to count the instructions of, and what to say of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.judge.comparison import INCONCLUSIVE, REGRESSED
from perf.measure.instructions import waits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perf.measure.duet import Block
    from perf.record.summary import Operation

MOST = 20
"""How many operations are counted: each takes some ten seconds."""


def worth_counting(
    verdicts: Mapping[Operation, str], blocks: Mapping[str, Sequence[Block]]
) -> tuple[list[Operation], list[str]]:
    """Return the operations to count, and a line each for what is left out.

    What waits is left out; of the rest, what regressed or is not settled comes first. `blocks` are those of each test.
    """
    waiting = [one for one in verdicts if waits(blocks[one.test])]
    busy = [one for one in verdicts if one not in waiting]
    busy.sort(key=lambda one: verdicts[one] not in {REGRESSED, INCONCLUSIVE})
    reasons = {"they wait for something": waiting, f"only {MOST} are": busy[MOST:]}
    return busy[:MOST], [
        f"instructions not counted of {', '.join(one.name for one in left_out)}: {reason}"
        for reason, left_out in reasons.items()
        if left_out
    ]
