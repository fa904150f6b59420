"""Tests that need a process of their own: they are in the folder `own_process`.

khive reads which repository it works in, and lionagi where `claude` is, once, when they are imported; and a leak shows
in what a process takes from the system only where other tests did not leave room for it.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from perf.errors import ServiceUnavailableError
from perf.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
MODULES = sorted((Path(__file__).parent / "own_process").glob("*.py"))
TROUBLE = {"failure", "error", "skipped"}
# Plugins that have no part in this are left out, for their imports take time.
INI = """
[pytest]
asyncio_mode = auto
addopts = -p no:logging -p no:cacheprovider -p no:hypothesispytest -p no:anyio --assert=plain
"""


def names_in(module: Path) -> list[str]:
    """Return the names of the tests in a module, which is not imported."""
    nodes = ast.parse(module.read_text()).body
    functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in functions if name.startswith("test_")]


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[str, list[str]]]:
    """Give a function that runs a module once, in a process of its own, and returns what became of each test."""

    @cache
    def run(module: Path) -> dict[str, list[str]]:
        folder = tmp_path_factory.mktemp(module.stem)
        (folder / "pytest.ini").write_text(INI)
        for file in (module, ROOT / "thresholds.toml"):
            shutil.copy(file, folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERF_", "PYTEST"))}
        command = [sys.executable, "-m", "pytest", module.name, "--junit-xml=outcomes.xml"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert (folder / "outcomes.xml").exists(), done.stdout[-2000:] + done.stderr[-2000:]
        found: dict[str, list[str]] = {}
        for case in ET.parse(folder / "outcomes.xml").iter("testcase"):  # noqa: S314 - our own file
            trouble = [f"{case.get('name')}, {one.tag}: {one.text}" for one in case if one.tag in TROUBLE]
            found.setdefault(case.attrib["name"].partition("[")[0], []).extend(trouble)
        return found

    return run


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, id=f"{module.stem}-{name}") for module in MODULES for name in names_in(module)],
)
def test_in_a_process_of_its_own(outcomes: Callable[[Path], dict[str, list[str]]], module: Path, name: str) -> None:
    """The claim of each of these tests, in its own docstring, holds for all its cases."""
    if "redis_service" in module.read_text():
        _need_redis()

    assert outcomes(module)[name] == []


def _need_redis() -> None:
    try:
        redis_server.choose("installed", os.environ)
    except ServiceUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
