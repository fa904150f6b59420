"""The one place where a report becomes a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perf.errors import SaveError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> str:
    """Write `text` to `path`, whole or not at all, and return the line that says so; SaveError says why not."""
    if path.is_dir():
        raise SaveError(f"{path}: not written: it is a folder; name a file in it")
    target = path.resolve()  # what a link leads to is replaced, not the link
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not target.is_file():  # a device or a pipe takes what is written, and stays
            target.write_text(text, encoding="utf-8", errors="replace")
            return f"Wrote {path}"
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(target)
    except OSError as error:
        raise SaveError(f"{path}: not written: {error.strerror}; free space, or name another place") from None
    finally:
        if part.exists():
            part.unlink()
    return f"Wrote {path}"


def remove(path: Path) -> None:
    """Remove a report of before, so that it cannot be taken for one of now; SaveError says why it is still there."""
    try:
        if path.exists():
            path.unlink()
    except OSError as error:
        raise SaveError(f"{path}: an old report is in the way: {error.strerror}; remove it") from None


def append(path: Path, text: str) -> None:
    """Add `text` to a file that others write too, such as a CI job's summary; SaveError says why not."""
    try:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise SaveError(f"{path}: not written: {error.strerror}") from None
