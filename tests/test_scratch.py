from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from perf.services.scratch import PID_FILE, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable

HOLDER = f"""
import subprocess, sys, time
from perf.services.scratch import scratch_folder
with scratch_folder("scratch-") as folder:
    server = subprocess.Popen(["sleep", "60"])
    (folder / {PID_FILE!r}).write_text(str(server.pid))
    print(folder, server.pid, flush=True)
    time.sleep(60)
"""


def soon(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened()


def test_a_folder_is_gone_afterwards() -> None:
    """The folder is empty at first, and removed with all that came into it."""
    with scratch_folder("scratch-") as folder:
        assert list(folder.iterdir()) == []
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()

    assert not folder.exists()


def test_a_folder_and_its_server_go_with_a_killed_process() -> None:
    """When the process that made the folder is killed, the server noted in it ends and the folder is removed."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder, pid = process.stdout.readline().split()
        process.kill()

    assert soon(lambda: not Path(folder).exists())
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
