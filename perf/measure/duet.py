"""Two or more live processes that run the same benchmarks in lockstep on one CPU, a few milliseconds each in turn.

What slows this machine for a while slows both sides alike, so their ratio is steadier by far than either: L. Bulej and
others, "Duet benchmarking: improving measurement accuracy in the cloud", ICPE 2020.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from perf.measure.awaitable import WARMUP_CALLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

BLOCK_SECONDS = 0.005
"""How long a block of calls shall take; one call where that takes longer."""

PAIR_SECONDS = 0.3
"""How long all blocks of an operation take together in one pair, and no fewer than four.

More would tell little more: processes of the same code differ by more than the blocks of one do.
"""

PATIENCE_SECONDS = 120.0
"""After so long without a word a worker hangs."""

_WARM_UP_ROUNDS = 2
_FEWEST_ROUNDS = 2  # one order and the other
_LARGEST_BLOCK = 1_000_000
_SECONDS_TO_CLEAN_UP = 10.0


class EndedError(Exception):
    """An operation raised in the midst of its blocks: the worker says what came of the test."""

    def __init__(self, name: str, said: dict[str, Any]) -> None:
        super().__init__(name)
        self.name = name
        self.said = said


class WorkerLostError(Exception):
    """A worker died or hangs: which, and how."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name
        self.reason = reason


@dataclass
class Worker:
    """A live pytest process, called `name`, that keeps step; what it prints goes to `log`.

    `calls` is how many of its present test's operation it was told to make.
    """

    name: str
    process: subprocess.Popen[bytes]
    connection: socket.socket
    log: Path
    patience: float = PATIENCE_SECONDS
    calls: int = 0
    _heard: bytes = b""

    def tell(self, **what: object) -> None:
        """Tell it what to do next."""
        try:
            self.connection.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            raise self._lost() from None

    def hear(self) -> dict[str, Any]:
        """Return what it says next; WorkerLostError when it says nothing more."""
        deadline = time.monotonic() + self.patience
        while b"\n" not in self._heard:
            self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                part = self.connection.recv(1 << 16)
            except TimeoutError:
                raise WorkerLostError(self.name, f"hangs: not a word for {self.patience:.0f} s") from None
            except OSError:
                part = b""
            if not part:
                raise self._lost()
            self._heard += part
        line, self._heard = self._heard.split(b"\n", 1)
        return json.loads(line)  # type: ignore[no-any-return]

    def _lost(self) -> WorkerLostError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_SECONDS_TO_CLEAN_UP)
        code = self.process.returncode
        how = "hangs" if code is None else f"was killed by {signal.Signals(-code).name}" if code < 0 else "ended"
        return WorkerLostError(self.name, f"{how}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line that it printed and that says something."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        said = [line.strip(" =!") for line in lines if line.strip(" =!") and not line.startswith("=")]
        return next((line for line in reversed(said) if "nothing was measured" not in line), "it printed nothing")

    def stop(self) -> None:
        """End it and all that it started; it is given time to clean up behind itself."""
        self.connection.close()
        if self.process.poll() is None:
            self._end()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(_SECONDS_TO_CLEAN_UP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pin(self, cpus: Collection[int]) -> None:
        """Keep it and all that it started (its Redis, its stand-ins) on `cpus`; OSError where that is not allowed."""
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            for process in (main, *main.children(recursive=True)):
                for thread in process.threads():
                    with suppress(ProcessLookupError):
                        os.sched_setaffinity(thread.id, cpus)


@contextmanager
def started(
    commands: Mapping[str, Sequence[str]], folder: Path, environment: Mapping[str, str], patience: float
) -> Iterator[dict[str, Worker]]:
    """Start a worker for each command, which `--perf-lockstep` and its value are added to, and end all of them."""
    workers: dict[str, Worker] = {}
    try:
        for name, command in commands.items():
            workers[name] = _start(name, command, folder, environment, patience)
        yield workers
    finally:
        for worker in workers.values():
            worker.stop()


def _start(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], patience: float) -> Worker:
    ours, theirs = socket.socketpair()
    log = folder / f"{name}.log"
    with log.open("wb") as output, theirs:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, f"--perf-lockstep={theirs.fileno()}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C reaches us alone, and we end it
        )
    return Worker(name=name, process=process, connection=ours, log=log, patience=patience)


class Block(NamedTuple):
    """A block of calls: how long it took, and how long its worker was busy in it, in seconds."""

    calls: int
    seconds: float
    busy: float

    @property
    def per_call(self) -> float:
        """Seconds per call."""
        return self.seconds / self.calls


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the workers of a pair told of one test.

    `blocks` are those of either stream, by contest; `figures` what each worker recorded by itself in its turn;
    `faults` the kind and the reason of each worker that measured nothing to trust.
    """

    blocks: dict[str, tuple[list[Block], list[Block]]] = field(default_factory=dict)
    figures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Blocks of one worker, made slower by the share `slowed`, or recorded in the profile at `profile`."""

    worker: Worker
    slowed: float = 0.0
    profile: str = ""

    def block(self, calls: int) -> Block:
        """Let the worker time a block of calls."""
        self.worker.calls += calls
        self.worker.tell(calls=calls, slowed=self.slowed, profile=self.profile)
        said = self.worker.hear()
        if said["event"] != "took":
            raise EndedError(self.worker.name, said)
        return Block(calls, said["seconds"], said["busy"])


Contest = tuple[Stream, Stream]


def measure(
    workers: Sequence[Worker],
    contests: Mapping[str, Contest],
    cpu: int | None,
    *,
    seconds: float = PAIR_SECONDS,
    turned: bool = False,
) -> Told:
    """Measure the workers' next test in turn, on one CPU: each contest by itself, its second stream first if `turned`.

    Only two streams are measured at a time, so that a block follows one of its own as often in either. WorkerLostError
    when a worker dies.
    """
    arrived = {worker.name: worker.hear() for worker in workers}
    for worker in workers:
        worker.calls = 0
    blocks: dict[str, tuple[list[Block], list[Block]]] = {}
    with _pinned(workers, cpu):
        if all(said["event"] == "ready" for said in arrived.values()):
            try:
                blocks = {name: _blocks(contest, seconds, turned=turned) for name, contest in contests.items()}
            except EndedError as ended:
                arrived[ended.name] = ended.said
        turns = all(said["event"] == "turn" for said in arrived.values())
        order = reversed(workers) if turned else workers
        done = {worker.name: let_end(worker, arrived[worker.name], turns=turns) for worker in order}
    for worker in workers:
        worker.tell(next=True)
    return Told(
        blocks=blocks,
        figures={name: said["figures"] for name, said in done.items()} if turns else {},
        faults={name: (said["kind"], said["reason"]) for name, said in done.items() if said["kind"]},
    )


def let_end(worker: Worker, said: dict[str, Any], *, turns: bool) -> dict[str, Any]:
    """Let a worker come to the end of its test, by its turn where all have one, and return what it says then."""
    if said["event"] == "ready":
        worker.tell(calls=0)
    elif said["event"] == "turn":
        worker.tell(go=turns)
    return said if said["event"] == "done" else worker.hear()


@contextmanager
def _pinned(workers: Sequence[Worker], cpu: int | None) -> Iterator[None]:
    """Keep the workers on one CPU; what they make ready for the next test they do on all."""
    if cpu is None:
        yield
        return
    for worker in workers:
        worker.pin({cpu})
    yield
    for worker in workers:
        worker.pin(os.sched_getaffinity(0))


def _blocks(contest: Contest, seconds: float, *, turned: bool) -> tuple[list[Block], list[Block]]:
    """Return the blocks of either stream, all with as many calls, the order turned each time (ABBA)."""
    calls, slowest = _calibrated(contest)
    rounds = max(2 * round(seconds / (4 * slowest * calls)), _FEWEST_ROUNDS)
    warm_up = _WARM_UP_ROUNDS if rounds > _FEWEST_ROUNDS else 0
    first, second = contest
    old, new = [], []
    for number in range(warm_up + rounds):
        if bool(number % 2) == turned:
            before, after = first.block(calls), second.block(calls)
        else:
            after, before = second.block(calls), first.block(calls)
        if number >= warm_up:
            old.append(before)
            new.append(after)
    return old, new


def _calibrated(contest: Contest) -> tuple[int, float]:
    """Return how many calls fill a block, and the seconds that a call of the slower stream takes."""
    for _ in range(WARMUP_CALLS):
        for stream in contest:
            stream.block(1)
    calls = 1
    while True:
        slowest = max(*(stream.block(calls).per_call for stream in contest), 1e-9)
        wanted = min(max(round(BLOCK_SECONDS / slowest), 1), _LARGEST_BLOCK)
        if wanted <= 2 * calls:
            return wanted, slowest
        calls = min(wanted, 10 * calls)
