"""Instructions per call of an operation, as valgrind's callgrind counts them: what noise of the machine does not touch.

Only of operations that do no waiting, for nothing that waits shows in a count.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from perf.measure import duet
from perf.measure.awaitable import WARMUP_CALLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BLOCK = 10_000_000
"""How many instructions a counted block of calls takes at least: chosen by no clock, so that it is the same each time.

A worker takes some 100,000 more for what it hears and tells, and these repeat within about 1,000.
"""

PATIENCE_SECONDS = 600.0
"""After so long without a word a worker under valgrind hangs: to start takes it five to ten times as long as usual."""

_BUSY = 0.9
_THE_SAME_EACH_TIME = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"}
"""Sets are walked in one order; Python's own allocator takes up to 5 % more by where its pools happen to end."""

_PROGRAMS = ("valgrind", "vgdb")
_SECONDS_TO_ANSWER = 60.0
_MORE = 4
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Instructions per call, by test and then by side; `notes` say in a line each what was not counted, and why."""

    per_call: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def waits(blocks: Sequence[duet.Block]) -> bool:
    """Whether an operation waits for something: its process was busy for less than nine tenths of the middle block."""
    return median(block.busy / block.seconds for block in blocks) < _BUSY


def absent(environment: Mapping[str, str]) -> str:
    """Return the line that says why no instructions can be counted here, "" where they can."""
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=environment.get("PATH"))]
    return f"instructions not counted: {missing[0]} is not installed" if missing else ""


def count_instructions(
    commands: Mapping[str, Sequence[str]],
    tests: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    patience: float = PATIENCE_SECONDS,
) -> Counted:
    """Return what a call in each of `tests`, all of them timed in blocks, takes on each side that has a command.

    What the test prepares for each call is counted with it; starting up and the collection of garbage before each block
    are not, for the difference of two blocks is taken. Only what a call keeps for good counts more than it should: some
    100 instructions an object, by which the collector takes longer before the larger block. A fault is a note.
    """
    if reason := absent(environment):
        return Counted(notes=[reason])
    under_valgrind = {name: [*_valgrind(name, folder), *command] for name, command in commands.items()}
    counting = _Counting(tests=tests, folder=folder)
    try:
        with duet.started(under_valgrind, folder, {**environment, **_THE_SAME_EACH_TIME}, patience) as workers:
            counting.run(workers)
    except duet.WorkerLostError as lost:
        missing = ", ".join(test for test in tests if test not in counting.through)
        counting.notes.append(f"instructions not counted of {missing}: {lost.name} under valgrind {lost.reason}")
    return Counted(per_call=counting.per_call, notes=counting.notes)


def _valgrind(name: str, folder: Path) -> list[str]:
    dumps = f"--callgrind-out-file={folder / name}.callgrind"
    return ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", dumps, _pipes(folder)]


def _pipes(folder: Path) -> str:
    """Return the option of valgrind and of vgdb that says where one hears the other."""
    return f"--vgdb-prefix={folder / 'vgdb'}"


@dataclass
class _Side:
    """A worker under valgrind, and how many counts it wrote so far."""

    worker: duet.Worker
    folder: Path
    dumps: int = 0

    def count(self, calls: int) -> int:
        """Return the instructions from one word of the worker's to the next, with `calls` calls between them."""
        duet.Stream(worker=self.worker).block(calls)
        self.ask("dump")
        self.dumps += 1
        dump = self.folder / f"{self.worker.name}.callgrind.{self.dumps}"
        found = _TOTAL.search(dump.read_text(encoding="utf-8") if dump.exists() else "")
        if not found:
            raise duet.WorkerLostError(self.worker.name, f"wrote no count: {self.worker.last_words()}")
        dump.unlink()
        return int(found[1])

    def ask(self, command: str) -> None:
        """Have callgrind do something while the worker waits to be told more; it needs leave to trace the process."""
        vgdb = ["vgdb", f"--pid={self.worker.process.pid}", _pipes(self.folder), *command.split()]
        try:
            subprocess.run(vgdb, check=True, capture_output=True, timeout=_SECONDS_TO_ANSWER)  # noqa: S603 - our own
        except (subprocess.SubprocessError, OSError) as error:
            raise duet.WorkerLostError(self.worker.name, f"does not answer: {error}") from None


@dataclass
class _Counting:
    """Counting under way: what was counted, and the tests that are through."""

    tests: Sequence[str]
    folder: Path
    per_call: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    through: set[str] = field(default_factory=set)

    def run(self, workers: Mapping[str, duet.Worker]) -> None:
        for worker in workers.values():
            worker.hear()
            worker.tell(run=list(self.tests))
        sides = [_Side(worker, self.folder) for worker in workers.values()]
        for _ in self.tests:
            self._count(sides)

    def _count(self, sides: Sequence[_Side]) -> None:
        """Count the workers' next test; where it fails, say why and go on."""
        arrived = {side.worker.name: side.worker.hear() for side in sides}
        found: dict[str, float] = {}
        if all(said["event"] == "ready" for said in arrived.values()):
            try:
                found = _per_call(sides)
            except duet.EndedError as ended:
                arrived[ended.name] = ended.said
            _switch(sides, "off")
        done = [duet.let_end(side.worker, arrived[side.worker.name], turns=False) for side in sides]
        for side in sides:
            side.worker.tell(next=True)
        test = done[0]["test"]
        self.through.add(test)
        if reason := next((said["reason"] for said in done if said["kind"]), ""):
            self.notes.append(f"instructions not counted of {test}: under valgrind it fails: {reason}")
        elif found:
            self.per_call[test] = found


def _per_call(sides: Sequence[_Side]) -> dict[str, float]:
    """Return what a call takes on each side, from as many calls on all.

    As many calls were made before either of the two blocks, so that as much garbage is collected in both.
    """
    _switch(sides, "on")
    calls = _enough(sides)
    first = [side.count(calls) for side in sides]
    second = [side.count(2 * calls) for side in sides]
    return {side.worker.name: (more - less) / calls for side, less, more in zip(sides, first, second, strict=True)}


def _enough(sides: Sequence[_Side]) -> int:
    """Return how many calls fill a block; all is warm then."""
    for _ in range(WARMUP_CALLS):
        most = max([side.count(1) for side in sides])
    calls = 1
    while most < BLOCK:
        calls *= _MORE
        most = max([side.count(calls) for side in sides])
    return calls


def _switch(sides: Sequence[_Side], state: str) -> None:
    for side in sides:
        side.ask(f"instrumentation {state}")
