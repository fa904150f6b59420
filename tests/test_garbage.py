"""The garbage collector's pauses while something is measured."""

from __future__ import annotations

import gc

from perf.measure.garbage import GarbagePauses


def test_pauses_are_counted_and_timed() -> None:
    """Two collections, of which the clock says that they took one and three seconds."""
    times = iter([10.0, 11.0, 20.0, 23.0])

    with GarbagePauses(clock=lambda: next(times)) as pauses:
        gc.collect()
        gc.collect()

    assert (pauses.count, pauses.total, pauses.longest) == (2, 4.0, 3.0)


def test_what_comes_outside_is_not_counted() -> None:
    """Collections before and after are nobody's."""
    before = list(gc.callbacks)
    gc.collect()
    with GarbagePauses() as pauses:
        pass
    gc.collect()

    assert pauses.count == 0
    assert gc.callbacks == before
