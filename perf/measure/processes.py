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
    from multiprocessing.synchronize import Barrier, Event

    from perf.measure.load_models import Load, Opening, Operation

_SECONDS_TO_OPEN = 120.0
_SECONDS_TO_END = 5.0
_BROKEN_BY_ANOTHER = "another process could not begin"


async def run_in_processes(operation: Operation | Opening, parts: Sequence[Load]) -> list[LoadRecord]:
    """Run each part in a process of its own, all from one moment on, and return what came of each.

    `operation` is an `async def` at the top of a module, or a function there that returns an async context manager
    around the operation: each process opens its own. When a part is aborted all are. MeasurementError when a process
    cannot begin or dies; no process is left, also when this is cancelled.
    """
    _check_sendable(operation)
    context = multiprocessing.get_context("spawn")
    barrier, stop = context.Barrier(len(parts)), context.Event()
    workers: list[tuple[SpawnProcess, Connection]] = []
    try:
        for part in parts:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, barrier, stop, operation, part), daemon=True)
            process.start()
            theirs.close()
            workers.append((process, ours))
        return await asyncio.to_thread(_collect, workers, barrier)
    finally:
        _end(process for process, _ in workers)


def _check_sendable(operation: Operation | Opening) -> None:
    try:
        ForkingPickler.dumps(operation)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise MeasurementError(
            f"processes: the operation cannot be sent to another process ({error}): define it at the top of a module"
        ) from None


def _collect(workers: Sequence[tuple[SpawnProcess, Connection]], barrier: Barrier) -> list[LoadRecord]:
    records, reasons = [], []
    for number, (process, connection) in enumerate(workers, 1):
        try:
            record, reason = connection.recv()
        except EOFError:
            barrier.abort()
            process.join(_SECONDS_TO_END)
            record, reason = None, f"died with exit code {process.exitcode}"
        if record is None:
            reasons.append(f"process {number} of {len(workers)} {reason}")
        else:
            records.append(msgspec.msgpack.decode(record, type=LoadRecord))
    if reasons:
        raise MeasurementError(next((one for one in reasons if _BROKEN_BY_ANOTHER not in one), reasons[0]))
    return records


def _end(processes: Iterable[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
        process.join(_SECONDS_TO_END)
        if process.exitcode is None:
            process.kill()
            process.join()


def _serve(connection: Connection, barrier: Barrier, stop: Event, operation: Operation | Opening, part: Load) -> None:
    """Be one of the processes: run a part and send its record, or why there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        record = asyncio.run(_part(operation, part, barrier, stop))
        connection.send((msgspec.msgpack.encode(record), ""))
    except threading.BrokenBarrierError:
        connection.send((None, _BROKEN_BY_ANOTHER))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
        barrier.abort()
        connection.send((None, f"could not begin: {error!r}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def _part(operation: Operation | Opening, part: Load, barrier: Barrier, stop: Event) -> LoadRecord:
    async with _opened(operation) as opened:
        await asyncio.to_thread(barrier.wait, _SECONDS_TO_OPEN)
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
