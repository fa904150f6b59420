"""The one place where a report becomes a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perf.errors import SaveError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> str:
    """Write `text` to `path`, whole or not at all, and return the line that says so; SaveError says why not."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise SaveError(f"{path}: not written: {error.strerror}; free space, or name another place") from None
    finally:
        if part.exists():
            part.unlink()
    return f"Wrote {path}"


def remove(path: Path) -> None:
    """Remove a report of before, so that it cannot be taken for one of now; SaveError says why it is still there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(f"{path}: an old report is in the way: {error.strerror}; remove it") from None


def append(path: Path, text: str) -> None:
    """Add `text` to a file that others write too, such as a CI job's summary; SaveError says why not."""
    try:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise SaveError(f"{path}: not written: {error.strerror}") from None
