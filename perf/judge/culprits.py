"""Which functions an operation's growth lies in: those whose own time grew most from one profile to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.record.ab import Grown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perf.measure.profiles import Function, OwnTime

_MOST = 5
_SHARE = 0.05


def grown(before: Mapping[Function, OwnTime], after: Mapping[Function, OwnTime], calls: int) -> list[Grown]:
    """Return up to five functions whose own time grew most, of profiles of as many `calls` of an operation either.

    One that grew by less than a twentieth of all that grew is left out.
    """
    found = [
        Grown(
            function=function.name,
            file=function.file,
            line=time.line,
            before=before[function].seconds / calls if function in before else 0.0,
            after=time.seconds / calls,
        )
        for function, time in after.items()
    ]
    growing = sorted((one for one in found if one.after > one.before), key=lambda one: one.before - one.after)
    least = _SHARE * sum(one.after - one.before for one in growing)
    return [one for one in growing[:_MOST] if one.after - one.before >= least]
