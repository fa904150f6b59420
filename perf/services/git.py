"""The commit a folder's code stands at, read without writing to its repository."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def commit(folder: Path) -> str | None:
    """Return the short commit of `folder`, marked "(modified)" when its files differ; None outside git."""
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    return f"{head} (modified)" if _git(folder, "status", "--porcelain") else head


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words, no shell
            ["git", "--no-optional-locks", "-C", str(folder), *words],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
