"""Saved comparisons of two builds, as files beside the saved runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from perf.errors import NoHistoryError, UnreadableRunError
from perf.record.ab import FORMAT, PairedRun
from perf.record.store import NUMBERED, save_numbered

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ".khive/performance/ab"
"""Where comparisons are saved, below the folder the suite runs in."""


def save_paired(run: PairedRun, folder: Path) -> Path:
    """Write a comparison, whole or not at all, and return its path, `NNNN_profile_time.json`; SaveError as `save`."""
    time = re.sub(r"[^0-9T]", "", run.created[:19])
    return save_numbered(folder, f"{run.profile}_{time}", msgspec.json.encode(run))


def load_paired(spec: str, folder: Path) -> PairedRun:
    """Return the comparison that `spec` means: `latest`, a number, a name in `folder`, or a path.

    NoHistoryError when there is none, UnreadableRunError when it cannot be read.
    """
    names = _names(folder)
    if spec == "latest":
        if not names:
            raise NoHistoryError(f"no comparison of two builds in {folder}: make one, `nox -s ab`")
        return _read(folder / names[-1])
    for name in names:
        if spec in {name, name.removesuffix(".json")} or spec.lstrip("0") == name.partition("_")[0].lstrip("0"):
            return _read(folder / name)
    path = type(folder)(spec)
    if not path.is_file():
        newest = f"; the newest is {names[-1]}" if names else ""
        raise UnreadableRunError(f"no comparison in {folder} is called {spec!r}{newest}")
    return _read(path)


def all_paired(folder: Path) -> tuple[list[tuple[str, PairedRun]], list[str]]:
    """Return every comparison in `folder` with its name, oldest first, and a line for each that cannot be read."""
    found, unreadable = [], []
    for name in _names(folder):
        try:
            found.append((name, _read(folder / name)))
        except UnreadableRunError as error:
            unreadable.append(str(error))
    return found, unreadable


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    numbered = [match for path in folder.iterdir() if (match := NUMBERED.fullmatch(path.name))]
    return [match[0] for match in sorted(numbered, key=lambda match: int(match[1]))]


def _read(path: Path) -> PairedRun:
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content)
        if isinstance(found, dict) and found.get("format", FORMAT) != FORMAT:
            raise UnreadableRunError(
                f"{path}: format {found['format']!r}, and this suite reads format {FORMAT}: update the suite"
            )
        return msgspec.convert(found, PairedRun)
    except OSError as error:
        raise UnreadableRunError(f"{path}: {error.strerror}; make it readable") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRunError(
            f"{path}: not a saved comparison of two builds ({error}); delete it or move it elsewhere"
        ) from None
