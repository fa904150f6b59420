from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .clone import Clone
from .readme import FIRST_BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone of the working tree, kept for the session so that its environments are installed once."""
    clone = Clone.make(tmp_path_factory.mktemp("clone"))
    yield clone
    assert clone.left_behind() == []


@pytest.fixture(scope="session")
def main_job(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The README's first command as it stands there, run with a Python that has only pip."""
    python = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
    path = f"{python}/bin:/usr/local/bin:/usr/bin:/bin"
    return clone.run(FIRST_BLOCK[0], PATH=path, PERF_STRESS_DURATION_SEC="1")
