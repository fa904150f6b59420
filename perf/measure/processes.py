"""A load shared among real processes, which begin together and send back all they measured."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import pickle
import signal
import threading
from contextlib import asynccontextmanager
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, cast

import msgspec

from perf.errors import MeasurementError
from perf.measure.outcomes import LoadRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from multiprocessing.synchronize import Event

    from perf.measure.load_models import Load, Opening, Operation

_SECONDS_TO_OPEN = 120.0
_SECONDS_TO_END = 5.0


async def run_in_processes(operation: Operation | Opening, parts: Sequence[Load]) -> list[LoadRecord]:
    """Run each part in a process of its own, all from one moment on, and return what came of each.

    `operation` is an `async def` at the top of a module, or a function there that returns an async context manager
    around the operation: each process opens its own. When a part is aborted all are. MeasurementError when a process
    cannot begin or dies; no process is left, also when this is cancelled.
    """
    _check_sendable(operation)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    workers: list[tuple[SpawnProcess, Connection]] = []
    try:
        for part in parts:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, stop, operation, part), daemon=True)
            process.start()
            theirs.close()
            workers.append((process, ours))
        return await asyncio.to_thread(_collect, workers)
    finally:
        _end(process for process, _ in workers)


def _check_sendable(operation: Operation | Opening) -> None:
    try:
        ForkingPickler.dumps(operation)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise MeasurementError(
            f"processes: the operation cannot be sent to another process ({error}): define it at the top of a module"
        ) from None


def _collect(workers: Sequence[tuple[SpawnProcess, Connection]]) -> list[LoadRecord]:
    """Wait until all processes are ready, let them begin at once, and return their records."""
    _hear(workers, _SECONDS_TO_OPEN)
    for _, connection in workers:
        connection.send("begin")
    return [msgspec.msgpack.decode(record, type=LoadRecord) for record in _hear(workers, None)]


def _hear(workers: Sequence[tuple[SpawnProcess, Connection]], seconds: float | None) -> list[bytes]:
    """Return what each process says next; MeasurementError when one cannot go on, dies, or says nothing in time."""
    said = []
    for number, (process, connection) in enumerate(workers, 1):
        try:
            word, reason = connection.recv() if connection.poll(seconds) else (None, f"was not ready in {seconds:g} s")
        except EOFError:
            process.join(_SECONDS_TO_END)
            word, reason = None, f"died with exit code {process.exitcode}"
        if word is None:
            raise MeasurementError(f"process {number} of {len(workers)} {reason}")
        said.append(word)
    return said


def _end(processes: Iterable[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
        process.join(_SECONDS_TO_END)
        if process.exitcode is None:
            process.kill()
            process.join()


def _serve(connection: Connection, stop: Event, operation: Operation | Opening, part: Load) -> None:
    """Be one of the processes: run a part and send its record, or why there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        record = asyncio.run(_part(connection, stop, operation, part))
        connection.send((msgspec.msgpack.encode(record), ""))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
        connection.send((None, f"could not begin: {error!r}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def _part(connection: Connection, stop: Event, operation: Operation | Opening, part: Load) -> LoadRecord:
    async with _opened(operation) as opened:
        connection.send((b"ready", ""))
        await asyncio.to_thread(connection.recv)
        record = await part.run(opened, stopped=stop.is_set)
        if record.aborted:
            stop.set()
        return record


@asynccontextmanager
async def _opened(operation: Operation | Opening) -> AsyncIterator[Operation]:
    """Give the operation itself, opened first where `operation` returns a context manager around it."""
    if inspect.iscoroutinefunction(operation) or inspect.iscoroutinefunction(type(operation).__call__):
        yield cast("Operation", operation)
    else:
        async with cast("Opening", operation)() as opened:
            yield opened
