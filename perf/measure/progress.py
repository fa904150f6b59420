"""How far a long measurement is, told while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_AFTER = 2.0
_EVERY = 1.0


class Telling:
    """Tells `progress` how far something is, at most once a second, and only when it takes longer than two."""

    def __init__(self, progress: Callable[[str], None] | None, clock: Callable[[], float]) -> None:
        self._progress, self._clock = progress, clock
        self._begin, self._next = clock(), _AFTER

    def __call__(self, how_far: str) -> None:
        """Tell it, when it is time."""
        passed = self._clock() - self._begin
        if self._progress and passed >= self._next:
            self._next = passed + _EVERY
            self._progress(f"{passed:.0f} s: {how_far}")

    async def during(self, awaitable: Awaitable[T], how_far: str) -> T:
        """Await something that tells nothing itself, and tell meanwhile that it goes on."""

        async def tick() -> None:
            while True:
                await asyncio.sleep(_EVERY)
                self(how_far)

        ticking = asyncio.create_task(tick())
        try:
            return await awaitable
        finally:
            ticking.cancel()
