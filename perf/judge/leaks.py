"""Does an operation leak? The bytes that each call keeps, with an interval, and one word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from perf.units import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.measure.growth import Growth

STABLE = "stable"
LEAKING = "leaking"
INCONCLUSIVE = "inconclusive"

PYTHON = "Python memory"
"""What Python's own allocator and those that go through it gave, as tracemalloc sees it."""

TOLERANCE = 100.0
"""Bytes a call that are no leak: less than any object with something in it."""

LEAST = 256.0 * KIB
"""Bytes in all that are no leak yet: caches of one entry a call take as much before they are full."""

_PARTS = 4
_LAST = 6
_ALIKE = 0.8
_A_BLOCK = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Slope:
    """How many bytes each call of one kind of memory keeps, and between which bounds that lies.

    `warm_up` batches were left out, in which memory grew faster than later; `fills` is whether that goes on to the end;
    `why` says why there is no plain verdict.
    """

    memory: str
    verdict: str
    per_call: float
    low: float
    high: float
    warm_up: int = 0
    fills: bool = False
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthVerdict:
    """`verdict` is "stable", "leaking" or "inconclusive", `by` the memory that decided; `slopes` has all.

    `opened` are the files, sockets, threads and tasks that are more after the calls than before, by name.
    """

    verdict: str
    by: Slope
    slopes: tuple[Slope, ...]
    opened: dict[str, int]


def judge_growth(growth: Growth, *, tolerance: float = TOLERANCE, confidence: float = 0.99) -> GrowthVerdict:
    """Return whether the calls leak more than `tolerance` bytes each.

    The process's own memory (USS; all that is resident where the system does not tell it) shows what C code leaks too,
    the traced one what Python code does, to the byte. One that leaks is a leak; stable takes both. But a trace does not
    see that calls free what was allocated before it began: so a leak of Python's must show in the whole process too, or
    in the number of all of Python's small blocks.
    """
    name, sizes = ("own memory", growth.uss) if growth.uss else ("resident memory", growth.rss)
    own = _judged(name, sizes, growth.calls, tolerance, confidence)
    traced = _judged(PYTHON, growth.traced, growth.calls, tolerance, confidence)
    shown = own.per_call >= traced.per_call / 2 or _rate(growth.blocks, growth.calls) >= _A_BLOCK
    if traced.verdict == LEAKING and not shown:
        why = f"{PYTHON} grows, {name} does not as much: calls replace what there was, or fill free room"
        traced = replace(traced, verdict=INCONCLUSIVE, why=why)
    if traced.fills and own.verdict == LEAKING:  # read before, when it was filling faster, and by pages
        own = replace(own, verdict=INCONCLUSIVE, why=traced.why)
    slopes = (traced, own)
    verdict = next((word for word in (LEAKING, INCONCLUSIVE) if any(one.verdict == word for one in slopes)), STABLE)
    opened = {name: count - growth.before.get(name, 0) for name, count in growth.after.items()}
    return GrowthVerdict(
        verdict=verdict,
        by=next(one for one in slopes if one.verdict == verdict),
        slopes=slopes,
        opened={name: more for name, more in opened.items() if more > 0},
    )


def _judged(memory: str, sizes: Sequence[int], calls: int, tolerance: float, confidence: float) -> Slope:
    """Judge one series of sizes, `calls` apart.

    A leak grows by more than the tolerance with confidence, by itself in each part of the time (one step, as of an
    allocator that takes a new piece of memory, does not), to the end as it began (what fills up does not), and by more
    in all than caches hold.
    """
    warm_up, alike = _warm_up(sizes, calls, tolerance)
    rest = sizes[warm_up:]
    per_call, low, high = _slope(rest, calls, confidence)
    fills = not alike or _rate(rest[-len(sizes) // _LAST :], calls) < per_call / 2
    verdict, why = INCONCLUSIVE, ""
    if high <= tolerance:
        verdict = STABLE
    elif low <= tolerance:
        why = f"{memory} differs by chance too much to see a leak of less than {max(high, -low):.3g} B a call"
    elif fills:
        why = f"{memory} still fills: later calls keep less than earlier ones"
    elif min(_rate(part, calls) for part in _parts(rest)) <= tolerance:
        why = f"{memory} grows in steps, not with every call"
    elif (grown := per_call * calls * (len(rest) - 1)) < LEAST:
        why = f"{memory} grew by {grown / KIB:.3g} KiB in all, as caches do that fill: it takes more calls to tell"
    else:
        verdict = LEAKING
    return Slope(
        memory=memory,
        verdict=verdict,
        per_call=per_call,
        low=low,
        high=high,
        warm_up=warm_up,
        fills=fills and verdict == INCONCLUSIVE,
        why=why,
    )


def _warm_up(sizes: Sequence[int], calls: int, tolerance: float) -> tuple[int, bool]:
    """Return after how many batches growth goes on as it is, at most half of all, and whether it does.

    What slows down over a quarter of the time or more is no warm-up: it may be slowing down for good.
    """
    for warm_up in (number * len(sizes) // 8 for number in range(5)):
        rest = sizes[warm_up:]
        half = len(rest) // 2
        early, late = _rate(rest[: len(rest) - half], calls), _rate(rest[half:], calls)
        if late >= _ALIKE * early - tolerance / 2:
            return warm_up, warm_up <= len(sizes) // 4
    return len(sizes) // 2, False


def _parts(sizes: Sequence[int]) -> list[Sequence[int]]:
    edges = [round(number * len(sizes) / _PARTS) for number in range(_PARTS + 1)]
    return [sizes[max(begin - 1, 0) : end] for begin, end in pairwise(edges)]


def _rate(sizes: Sequence[int], calls: int) -> float:
    return _slope(sizes, calls, 0.5)[0]


def _slope(sizes: Sequence[int], calls: int, confidence: float) -> tuple[float, float, float]:
    """Return the bytes that a call keeps and their bounds: the slope of Theil and Sen.

    Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968). It takes readings to differ
    by chance independently, which memory does not quite: hence the parts.
    """
    from scipy.stats import theilslopes

    result = theilslopes(sizes, [number * calls for number in range(len(sizes))], alpha=confidence)
    return float(result.slope), float(result.low_slope), float(result.high_slope)
