"""How far a long measurement is: told each second after the second one, drawn where somebody looks."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from perf.measure.progress import Telling

REPOSITORY = Path(__file__).parents[1]
TESTS = """
import asyncio
async def test_short(load_test_runner):
    await load_test_runner.run_async_load_test(lambda: asyncio.sleep(0), 1, 1)
async def test_long(load_test_runner):
    await load_test_runner.run_open_load_test(lambda: asyncio.sleep(0), 50, 2.5)
"""


def test_what_is_quick_tells_nothing_and_what_is_long_once_a_second() -> None:
    """Of ten seconds looked at every quarter, each from the second on is told once."""
    told: list[str] = []
    quarters = count(step=0.25)
    tell = Telling(told.append, lambda: next(quarters))

    for number in range(40):
        tell(f"{number} done")

    assert told == [f"{second} s: {4 * second - 1} done" for second in range(2, 11)]


async def test_waiting_tells_too_and_hands_on_what_comes_of_it() -> None:
    """Something that tells nothing itself is told of while it lasts, and its result or error comes through."""
    told: list[str] = []
    seconds = count()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    telling = Telling(told.append, lambda: next(seconds))
    result = await telling.during(asyncio.sleep(2.2, "done"), "under way")
    with pytest.raises(ZeroDivisionError):
        await telling.during(fail(), "under way")
    await asyncio.sleep(0)

    assert result == "done"
    assert told == ["2 s: under way"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def output(folder: Path, *, terminal: bool, **variables: str) -> str:
    """Run the two tests, at a terminal or into a pipe, and return what was printed."""
    (folder / "test_x_performance.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    shutil.copy(REPOSITORY / "thresholds.toml", folder)
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | variables
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with os.fdopen(ours, "rb", buffering=0) as reader:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_x_performance.py"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=theirs, stderr=subprocess.STDOUT)
        os.close(theirs)
        printed = b""
        with suppress(OSError):  # how a terminal says that nobody is there any more
            while chunk := reader.read(4096):
                printed += chunk
        process.wait()
    return printed.decode()


@pytest.mark.parametrize(
    ("terminal", "variables", "drawn"),
    [(True, {}, True), (True, {"CI": "true"}, False), (False, {}, False)],
    ids=["terminal", "terminal in CI", "pipe"],
)
def test_progress_is_drawn_where_somebody_looks(
    tmp_path: Path,
    terminal: bool,  # noqa: FBT001 - a case
    variables: dict[str, str],
    drawn: bool,  # noqa: FBT001
) -> None:
    """At a terminal the long test has a line, and results stand as ever; elsewhere there is none."""
    printed = output(tmp_path, terminal=terminal, **variables)

    assert ("\rtest_long 2 s: " in printed) is drawn
    assert "test_short 2 s" not in printed
    assert (
        printed.count("test_x_performance.py \x1b[32m.\x1b[0m" if terminal else "test_x_performance.py .") == 1 + drawn
    )
    assert "2 passed" in printed
