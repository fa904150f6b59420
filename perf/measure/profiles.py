"""What a kept profile tells of each function: the time it took itself, without what it called."""

from __future__ import annotations

import pstats
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_HOME = re.compile(r".*/(?:site-packages|lib/python3\.\d+)/")


class Function(NamedTuple):
    """A function by its name and its file, the latter without where the environment lies."""

    name: str
    file: str


class OwnTime(NamedTuple):
    """Where a function begins, and the seconds it took itself."""

    line: int
    seconds: float


def short_path(file: str) -> str:
    """Return a file's path without where the environment lies."""
    return _HOME.sub("", file)


def own_times(path: Path) -> dict[Function, OwnTime]:
    """Return the own time of every function in a profile of cProfile's; several of one name in a file count as one."""
    found: dict[Function, OwnTime] = {}
    for (file, line, name), (_, _, seconds, _, _) in pstats.Stats(str(path)).stats.items():  # type: ignore[attr-defined]
        function = Function(name, "built in" if file == "~" else short_path(file))
        known = found.get(function, OwnTime(line, 0.0))
        found[function] = OwnTime(known.line, known.seconds + seconds)
    return found
