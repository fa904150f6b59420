"""Note where a Python process writes outside the folders it may write to, and whom it reaches for beyond loopback.

Python imports a module of this name when it starts, so each one with this folder on its PYTHONPATH notes its own.
ALLOWED names the folders, NOTES the file that gets a line for each escape.
"""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Of each event the arguments that are a path, each with the one that is the open folder it is relative to.
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "sqlite3.connect": ((0, None),),
}
_TALKS = {"socket.bind", "socket.connect", "socket.sendmsg", "socket.sendto"}
_ASKS = {"socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname"}


def changed(event: str, arguments: tuple[object, ...]) -> list[str]:
    """Return the paths that an event creates, changes or removes."""
    if event == "open":
        path, _, flags = arguments
        return [_resolved(path, None)] if isinstance(flags, int) and flags & _WRITES else []
    return [
        _resolved(arguments[path], None if folder is None else arguments[folder])
        for path, folder in _CHANGES.get(event, ())
    ]


def _resolved(path: object, folder: object) -> str:
    if isinstance(path, int) or path == ":memory:":  # an open file was noted when it was opened
        return os.devnull
    base = f"/proc/self/fd/{folder}" if isinstance(folder, int) and folder >= 0 else "."
    whole = Path(base, os.fsdecode(path))  # type: ignore[arg-type]
    return str(whole.parent.resolve() / whole.name)


def reached(event: str, arguments: tuple[object, ...]) -> str | None:
    """Return the host that an event reaches for, None where it stays on loopback or within this machine."""
    place = arguments[1] if event in _TALKS else arguments[:1] if event in _ASKS else None
    if not isinstance(place, tuple) or place[0] in {None, "localhost", b"localhost"}:
        return None
    host = place[0].decode() if isinstance(place[0], bytes) else str(place[0])
    try:
        return None if ip_address(host).is_loopback else host
    except ValueError:
        return host


def note(allowed: tuple[str, ...], file: int) -> None:
    """Write a line to `file` for each escape of this process from now on."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        lines = [f"{event} {path}" for path in changed(event, arguments) if not f"{path}/".startswith(allowed)]
        if host := reached(event, arguments):
            lines.append(f"{event} {host}")
        for line in lines:
            os.write(file, f"{line}\n".encode())

    sys.addaudithook(hook)


if "NOTES" in os.environ:
    note(
        (*os.environ["ALLOWED"].split(os.pathsep), "/dev/null/", "/proc/self/fd/"),
        os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
    )
