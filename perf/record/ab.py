"""A comparison of two builds in lockstep: what each pair of processes measured, before anything is judged."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from perf.record.summary import Operation, parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from perf.record.run import Measurement

FORMAT = 1
"""Version of a saved comparison; a reader refuses what it does not know."""

BLOCKS = "blocks"
TURNS = "turns"

NEW = "new"
MISSING = "missing"
NOT_OFFERED = "not offered"
BROKEN = "broken"
FAILED = "failed"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two builds: what was asked for, the khive that is, and the fingerprint of its environment."""

    spec: str
    build: str
    environment: dict[str, Any]


class Pair(msgspec.Struct, frozen=True):
    """What one pair of fresh processes measured of an operation, block by block (or turn by turn), in its unit.

    `seconds` is how long all blocks took together.
    """

    baseline: list[float]
    current: list[float]
    seconds: float = 0.0


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that both builds have; `by` is "blocks" of calls in alternation, or whole "turns" of its test."""

    operation: Operation
    metric: str
    unit: str
    better: str
    by: str
    pairs: list[Pair]


class Unpaired(msgspec.Struct, frozen=True, kw_only=True):
    """A test that gave no comparison, and why.

    `kind` is "new" or "missing" (only the current build has it, or only the baseline), "not offered" (neither),
    "broken" (it fails with the current build alone), or "failed" (it fails with the baseline).
    """

    operation: Operation
    kind: str
    reason: str


class Sentinels(msgspec.Struct, frozen=True, kw_only=True):
    """The baseline against itself, in two processes as any pair: as it is, and the second one `slowed` by a share.

    The blocks are those of a few operations, each as a multiple of what it takes.
    """

    operations: list[str]
    slowed_by: float
    same: list[Pair]
    slowed: list[Pair]


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """A function whose own time per call of the operation grew: seconds, in the two builds."""

    function: str
    file: str
    line: int
    before: float
    after: float


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why an operation may have regressed: what grew most, and where both profiles are kept."""

    operation: Operation
    grown: list[Grown]
    profiles: list[str]


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """Instructions per call of an operation in the two builds, without what starting up takes."""

    operation: Operation
    before: float
    after: float


class PairedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one comparison of two builds measured; `created` is UTC in ISO 8601, times are seconds.

    `left_out` says in a line each what was not compared, `notes` what else the reader should know.
    """

    format: int = FORMAT
    created: str
    profile: str
    tolerance: float
    confidence: float
    baseline: Side
    current: Side
    compared: list[Compared]
    unpaired: list[Unpaired]
    sentinels: Sentinels | None
    seconds: float
    left_out: list[str] = []
    notes: list[str] = []
    causes: list[Cause] = []
    instructions: list[Instructions] = []
    verdict: str = ""


class TurnFigure(msgspec.Struct, frozen=True, kw_only=True):
    """The one figure of an operation that a whole turn of its test gives."""

    operation: Operation
    metric: str
    unit: str
    better: str
    value: float


_TURNED = {"load": "throughput", "open load": "p95_response_time", "knee": "highest_rate", "overhead": "overhead"}


def turn_figures(measurements: Iterable[Measurement]) -> Iterator[TurnFigure]:
    """Yield what a test recorded by itself: one figure of each load, the median of each operation's times."""
    for one in measurements:
        metric = _TURNED.get(one.kind, "")
        if found := one.metrics.get(metric):
            yield TurnFigure(
                operation=_operation(one, one.operation),
                metric=metric,
                unit=found.unit,
                better=found.better,
                value=found.value,
            )
        elif one.kind == "latency" and one.samples:
            name = one.operation + parameters_of(one.origin.test)
            yield TurnFigure(
                operation=_operation(one, name), metric="median", unit="s", better="lower", value=median(one.samples)
            )


def _operation(one: Measurement, name: str) -> Operation:
    return Operation(one.origin.service, name, one.origin.test, one.operation, one.kind, one.concurrency)
