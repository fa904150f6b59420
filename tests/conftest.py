"""A folder in which pytest runs with the suite's plugin, as a process of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest import Pytester  # noqa: PT013 - `Pytester` alone is a type here

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).parents[1]
# Plugins that have no part in this are left out, for their imports take most of a run's time.
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:logging -p no:hypothesispytest -p no:anyio --assert=plain
"""


@pytest.fixture
def project(pytester: Pytester, monkeypatch: pytest.MonkeyPatch) -> Pytester:
    """A folder with the repository's thresholds.toml, and no variable of the suite's set."""
    for name in [name for name in os.environ if name.startswith("PERF_")]:
        monkeypatch.delenv(name)
    shutil.copy(REPOSITORY / "thresholds.toml", pytester.path)
    pytester.makefile(".ini", pytest=INI)
    return pytester
