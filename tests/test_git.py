from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from perf.services.git import commit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git on PATH")


def test_asking_for_the_commit_writes_nothing(tmp_path: Path) -> None:
    """The repository is as it was also where git would note afresh what a file looks like."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "file").touch()
    for words in (["init", "--quiet"], ["add", "file"], [*identity, "commit", "--quiet", "--no-gpg-sign", "-m", "One"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    index = (tmp_path / ".git" / "index").read_bytes()
    os.utime(tmp_path / "file", (1, 1))

    assert commit(tmp_path)

    assert (tmp_path / ".git" / "index").read_bytes() == index


def test_in_a_hook_it_is_still_the_folders_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git tells its hooks which repository is theirs: a folder outside git has no commit all the same."""
    subprocess.run(["git", "-C", str(tmp_path), "init", "--quiet", "hooks"], check=True)
    words = ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--allow-empty", "-m", "One"]
    subprocess.run(["git", "-C", str(tmp_path / "hooks"), *words, "--no-gpg-sign"], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "hooks" / ".git"))

    assert commit(tmp_path) is None
