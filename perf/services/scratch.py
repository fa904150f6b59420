"""A folder that is gone when its process is, however that ends, and with it the server that works in it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PID_FILE = "pid"
"""Where in the folder a server that must not outlive it notes its process id, which it removes at its end."""

# A server that ends may still write to its log, so it gets a second to be gone.
_SWEEP = f"""
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10; do kill "$(cat "$0/{PID_FILE}")" || break; sleep 0.1; done
rm -rf "$0"
"""


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Give an empty folder, which is removed afterwards, also behind a process that crashed or was killed.

    The shell that removes it waits for the end of its input: the system closes that with the last process that
    could write to it.
    """
    folder = mkdtemp(prefix=prefix)
    command = ["/bin/sh", "-c", _SWEEP, folder]
    # In a process group of its own, so that Ctrl-C leaves it to its work.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0):  # noqa: S603
        yield Path(folder)
