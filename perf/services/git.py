"""The commit a folder's code stands at, read without writing to its repository."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def environment() -> dict[str, str]:
    """Return the variables for a git that works in the folder it is sent to, also when a hook of git started us."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


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
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
