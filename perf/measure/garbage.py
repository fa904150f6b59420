"""The garbage collector's pauses while something is measured."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class GarbagePauses:
    """Counts the garbage collections inside a `with` block: `count`, their `total` and the `longest`, in seconds."""

    clock: Callable[[], float] = time.perf_counter
    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    _start: float | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        """Begin to count."""
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Count no more."""
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._start = self.clock()
        elif self._start is not None:
            pause, self._start = self.clock() - self._start, None
            self.count += 1
            self.total += pause
            self.longest = max(self.longest, pause)
