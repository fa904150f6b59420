"""The worker's end of a comparison in lockstep: it times a block of calls when it is told to, and else stands still.

Lines of JSON go both ways over a socket. The worker says `collected`, then for each test `ready` or `turn` when it
could begin, and `done`; it is told which tests to `run`, then for each how many `calls` make the next block (0: no more
blocks) or whether to `go`, and when to begin the `next` one.
"""

from __future__ import annotations

import cProfile
import gc
import json
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lockstep:
    """A worker's conversation with what compares it, over the socket that it inherited as `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("rb")
        self._block: dict[str, Any] = {}
        self._busy = 0.0
        self._profile = cProfile.Profile()

    def tell(self, event: str, **details: Any) -> None:  # noqa: ANN401 - what JSON takes
        """Say that something happened."""
        self._socket.sendall(json.dumps({"event": event, **details}, default=repr).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        """Return what this worker is told next; KeyboardInterrupt when nobody is there to tell it anything."""
        line = self._lines.readline()
        if not line:
            raise KeyboardInterrupt("the comparison is over")
        return json.loads(line)  # type: ignore[no-any-return]

    def blocks(self) -> Iterator[int]:
        """Say that an operation is ready, and yield how many calls to time, until there are enough blocks.

        Garbage is collected before each block, so that it need not be within one; what is there already is kept out of
        that, or it would take longer than the block.
        """
        gc.collect()
        gc.freeze()
        self._profile = cProfile.Profile()
        self.tell("ready")
        while (told := self.hear())["calls"]:
            self._block = told
            gc.collect()
            self._busy = time.process_time()
            if told["profile"]:
                self._profile.enable()
            yield told["calls"]

    def took(self, seconds: float) -> None:
        """Say how long the block took, and how long this process was busy in it.

        A block that is to be slowed is first made longer by that share, in real time; one that is to be profiled is
        added to the profile of the operation.
        """
        self._profile.disable()
        busy = time.process_time() - self._busy
        start = time.perf_counter()
        if self._block["slowed"]:
            while time.perf_counter() - start < self._block["slowed"] * seconds:
                pass
            seconds += time.perf_counter() - start
        if self._block["profile"]:
            self._profile.dump_stats(self._block["profile"])
        self.tell("took", seconds=seconds, busy=busy)
