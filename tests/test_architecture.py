from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).parent.parent / "perf"
ROAD = ("services", "measure", "record", "judge", "report")
COMMON = ("errors", "units", "distribution")
IN_ROOMS = sorted(path.relative_to(PERF).as_posix() for room in ROAD for path in (PERF / room).rglob("*.py"))
JUDGE = [name for name in IN_ROOMS if name.startswith("judge/")]
OUTSIDE_WORLD = {
    "asyncio", "datetime", "fcntl", "glob", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def imported(source: str) -> set[str]:
    """Return every name that a module imports anywhere, as `package.module.name`, type checking included."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def against_the_road(room: str, source: str) -> list[str]:
    """Return what a module of `room` imports of ours that lies neither before it nor beside the road.

    The bare package is no room: it gives a module its own folder and version, and loads nothing.
    """
    allowed = {*ROAD[: ROAD.index(room) + 1], *COMMON}
    parts = {name: name.split(".") for name in imported(source)}
    ours = {name: path for name, path in parts.items() if path[0] in {"perf", ""} and name != "perf"}
    return sorted(name for name, path in ours.items() if path[1] not in allowed)


def test_the_rooms_are_those_of_the_road() -> None:
    """Every folder of the package is a room on the road, and every room has modules to check."""
    folders = {path.parent.name for path in PERF.glob("*/*.py")}

    assert folders == set(ROAD)


@pytest.mark.parametrize("name", IN_ROOMS)
def test_imports_go_along_the_road(name: str) -> None:
    """A module in a room imports from its own room, the rooms before it and the common ground, nothing else."""
    assert against_the_road(name.partition("/")[0], (PERF / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("judge", "from perf.report.terminal import render"),
        ("judge", "from perf import report"),
        ("measure", "def late():\n    import perf.record.run"),
        ("services", "if TYPE_CHECKING:\n    from perf.session import PerformanceSession"),
        ("report", "from perf import fixtures"),
        ("report", "from ..plugin import pytest_configure"),
    ],
)
def test_a_wrong_turn_is_seen(room: str, source: str) -> None:
    """However an import against the road is written, and wherever it stands, this check finds it."""
    assert against_the_road(room, source)


@pytest.mark.parametrize("name", COMMON)
def test_the_common_ground_leads_into_no_room(name: str) -> None:
    """What every room may import imports nothing of ours but its like."""
    ours = {path.split(".")[1] for path in imported((PERF / f"{name}.py").read_text("utf-8")) if path[:5] == "perf."}

    assert ours <= set(COMMON)


@pytest.mark.parametrize("name", JUDGE)
def test_judging_touches_no_file_and_no_clock(name: str) -> None:
    """A decision is a function of its arguments: no module of the judge imports or opens the outside world."""
    source = (PERF / name).read_text(encoding="utf-8")
    called = {node.func.id for node in ast.walk(ast.parse(source)) if _is_plain_call(node)}  # type: ignore[attr-defined]

    assert {path.partition(".")[0] for path in imported(source)} & OUTSIDE_WORLD == set()
    assert called & {"open", "print", "input", "__import__", "exec", "eval"} == set()


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("name", JUDGE)
def test_judging_knows_records_and_not_their_files(name: str) -> None:
    """Of what is recorded the judge knows the types, never the store or the machine."""
    types = ("perf.record.run.", "perf.record.summary.", "perf.record.benchmark.", "perf.record.ab.")
    ours = {path for path in imported((PERF / name).read_text("utf-8")) if path.startswith("perf.record")}

    assert {path for path in ours if not path.startswith(types)} == set()


@pytest.mark.parametrize("module", ["perf", "perf.judge.thresholds", "perf.environments", "perf.errors"])
def test_noxs_own_python_can_import_it(module: str) -> None:
    """What runs before anything is installed imports the standard library and itself only."""
    script = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); import importlib; "
        f"importlib.import_module({module!r}); loaded = {{name.split('.')[0] for name in set(sys.modules) - before}}; "
        "print(*sorted(loaded - sys.stdlib_module_names))"
    )

    answer = subprocess.run(
        [sys.executable, "-I", "-c", script, str(PERF.parent)], capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout.split() == ["perf"]


def test_the_public_names_load_when_first_used() -> None:
    """`import perf` loads no instrument, and each public name then leads to its own."""
    script = (
        "import sys, perf; assert not [name for name in sys.modules if name.startswith('perf.')]; "
        "print(*(getattr(perf, name).__name__ for name in perf.__all__))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, cwd=PERF.parent
    )

    names = {"LoadTestRunner", "MemoryMonitor", "PerfError", "PerformanceProfiler"}
    assert names <= set(answer.stdout.split())
