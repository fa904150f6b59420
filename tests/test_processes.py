"""A load shared among real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from perf import LoadTestRunner
from perf.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


async def write_my_name(folder: Path) -> None:
    """Note which process ran this, and when."""
    with (folder / str(os.getpid())).open("a") as file:
        file.write(f"{time.monotonic()}\n")
    await asyncio.sleep(0.001)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Note that a process opened its own service, and that it closed it."""
    (folder / f"open-{os.getpid()}").touch()
    yield partial(write_my_name, folder)
    (folder / f"closed-{os.getpid()}").touch()


async def end_of_process() -> None:
    os._exit(9)


async def endless() -> None:
    await asyncio.Event().wait()


def unopenable() -> Any:  # noqa: ANN401
    raise OSError("no such service")


def notes(folder: Path) -> dict[str, list[float]]:
    """Return when each process made its calls."""
    return {
        path.name: [float(line) for line in path.read_text().splitlines()]
        for path in folder.iterdir()
        if path.name.isdigit()
    }


def marks(folder: Path) -> list[str]:
    """Return what processes noted of their services."""
    return sorted(path.name.partition("-")[0] for path in folder.glob("*-*"))


def children() -> list[psutil.Process]:
    """Return what is left of the processes of a load: the tracker of semaphores stays as long as this process."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "spawn_main" in " ".join(one.cmdline())]


async def test_the_tasks_are_shared_and_every_operation_counts(tmp_path: Path) -> None:
    """Of five tasks of four operations one of two processes does three tasks' and the other two tasks'."""
    result = await LoadTestRunner().run_async_load_test(partial(write_my_name, tmp_path), 5, 4, processes=2)

    assert result["total_operations"] == result["successful_operations"] == 20
    assert sorted(len(calls) for calls in notes(tmp_path).values()) == [8, 12]
    assert str(os.getpid()) not in notes(tmp_path)
    assert children() == []


async def test_the_processes_begin_together(tmp_path: Path) -> None:
    """Each opens its own service first; then none is done before the other begins."""
    result = await LoadTestRunner().run_open_load_test(partial(opened, tmp_path), 200, 0.5, processes=2)

    first, second = notes(tmp_path).values()
    assert result["total_operations"] == len(first) + len(second) == 100
    assert abs(len(first) - len(second)) <= 1
    assert max(first[0], second[0]) < min(first[-1], second[-1])
    assert marks(tmp_path) == ["closed", "closed", "open", "open"]


async def test_one_broken_limit_ends_all(tmp_path: Path) -> None:
    """When the part of one process breaks a limit, the load of an hour ends everywhere."""
    run = LoadTestRunner().run_open_load_test(endless, 200, 3600, processes=2, abort_on_fail={"p95_response_time": 0.2})
    result = await asyncio.wait_for(run, 60)

    assert result["aborted"].startswith("p95_response_time > 0.2")
    assert children() == []


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (end_of_process, "process 1 of 2 died with exit code 9"),
        (unopenable, r"process \d of 2 could not begin: OSError\('no such service'\)"),
        (lambda: asyncio.sleep(0), "define it at the top of a module"),
    ],
    ids=["dies", "cannot be opened", "a lambda"],
)
async def test_a_process_that_fails_is_said(operation: Any, said: str) -> None:  # noqa: ANN401
    """A process that dies or cannot begin is named with the reason, and the others go with it."""
    with pytest.raises(MeasurementError, match=said):
        await asyncio.wait_for(LoadTestRunner().run_async_load_test(operation, 2, 5, processes=2), 60)

    assert children() == []


async def test_more_processes_than_tasks_are_refused() -> None:
    """A process without a task would measure nothing."""
    with pytest.raises(MeasurementError, match="one for each of 3 processes"):
        await LoadTestRunner().run_async_load_test(endless, 2, processes=3)


SCRIPT = """
import asyncio, sys
from perf import LoadTestRunner
from tests.test_processes import endless

if __name__ == "__main__":
    print("begun", flush=True)
    asyncio.run(LoadTestRunner().run_async_load_test(endless, 2, 1, processes=2))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    """After Ctrl-C, and even when the parent is killed, the processes of a load are gone."""
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = ["env", "--default-signal=INT", sys.executable, "script.py"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        parent = psutil.Process(process.pid)
        started: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while len(started) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
            started = [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())]
        time.sleep(1)
        process.send_signal(how)
        process.wait(30)

    _, alive = psutil.wait_procs(started, timeout=10)
    assert len(started) == 2
    assert alive == []
