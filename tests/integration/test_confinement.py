"""A whole measuring session keeps to its own folders and to loopback, in Python and in every program it starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from perf.record.store import FOLDER, load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOTING = Path(__file__).parent / "noting"
ALONE = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-I", str(NOTING / "loopback_only.py")]
LITTLE_EFFORT = {
    r"rounds = .*": "rounds = 1",
    r"seconds_per_benchmark = .*": "seconds_per_benchmark = 0.01",
    r"concurrency = .*": "concurrency = [2]",
    r"operations_per_step = .*": "operations_per_step = 2",
    r"memory_operations = .*": "memory_operations = 2",
    r"memory_seconds = .*": "memory_seconds = 0.1",
    r"stress_workers = .*": "stress_workers = 2",
    r"stress_duration_sec = .*": "stress_duration_sec = 0.1",
}
OWN = (".khive/performance", ".benchmarks")
PASSED_OR_TOO_FEW_SAMPLES = {0, 1, 3}
ESCAPES = """
import os, socket, sqlite3, subprocess, sys
from contextlib import suppress
from pathlib import Path

HOME, ELSEWHERE = Path.home(), ("192.0.2.1", 9)
CHILD = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"

def test_escapes(performance_profiler, tmp_path, khive_repository):
    (HOME / "file").write_text("")
    (HOME / "folder").mkdir()
    (HOME / "file").rename(HOME / "moved")
    (HOME / "moved").unlink()
    (HOME / "folder").rmdir()
    sqlite3.connect(HOME / "database").close()
    os.symlink("anywhere", "here", dir_fd=os.open(HOME, os.O_RDONLY))
    (khive_repository / "inside").write_text("")
    subprocess.run(["touch", HOME / "by_child"], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
        talker.bind(("127.0.0.1", 0))
        with suppress(OSError):
            talker.connect(ELSEWHERE)  # no datagram is sent
    with suppress(OSError):
        socket.getaddrinfo("nowhere.invalid", 80)
    subprocess.run([sys.executable, "-I", "-c", CHILD], stderr=subprocess.DEVNULL)
"""


@dataclass(frozen=True)
class Confined:
    """A run and what it left: what its Pythons noted, and how often anything sent beyond loopback (None: unknown)."""

    code: int
    output: str
    folder: Path
    notes: list[str]
    unrouted: int | None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def files_in(self, name: str) -> set[str]:
        """Return the files and folders in the project, in the home or among the temporary ones."""
        return {str(path.relative_to(self.folder / name)) for path in (self.folder / name).rglob("*")}


def confined(folder: Path, test: str | None = None) -> Confined:
    """Run all benchmarks at little effort, or else the module `test`, with a home and a project of its own."""
    home, temporary, project = folder / "home", folder / "tmp", folder / "project"
    for one in (home, temporary, project):
        one.mkdir()
    _copy_project(project, test)
    notes, count = folder / "notes", folder / "count"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PERF_", "PYTEST", "XDG_"))},
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(NOTING),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ALLOWED": os.pathsep.join(f"{path}/" for path in (temporary, *(project / name for name in OWN))),
        "NOTES": str(notes),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--benchmark-min-rounds=1", "-q"]
    alone = [*ALONE, str(count)] if can_be_alone() else []
    done = subprocess.run(
        [*alone, *command], cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    return Confined(
        done.returncode,
        done.stdout + done.stderr,
        folder,
        notes.read_text().splitlines(),
        int(count.read_text()) if alone else None,
    )


def _copy_project(project: Path, test: str | None) -> None:
    (project / ".khive").mkdir()  # the saved runs' folder is in it, which the project may have
    settings = (ROOT / "thresholds.toml").read_text()
    for effort, little in LITTLE_EFFORT.items():
        settings = re.sub(effort, little, settings, count=1)
    (project / "thresholds.toml").write_text(settings)
    shutil.copy(ROOT / "pyproject.toml", project)
    if test is not None:
        (project / "test_custom_performance.py").write_text(test)
        return
    (project / "benchmarks").mkdir()
    for module in (ROOT / "benchmarks").glob("*.py"):
        (project / "benchmarks" / module.name).write_text(re.sub(r"min_rounds=\d+", "min_rounds=1", module.read_text()))


def can_be_alone() -> bool:
    """Whether this system lets us have a network of our own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, os.devnull, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Confined]:
    """All benchmarks of the suite, run once."""
    with TemporaryDirectory(prefix="all-") as folder:  # a short path, for a socket's may have 107 characters
        yield confined(Path(folder).resolve())


@pytest.fixture(scope="module")
def escapes() -> Iterator[Confined]:
    """A benchmark that writes and talks where it must not, by itself and by programs it starts."""
    with TemporaryDirectory(prefix="bad-") as folder:
        yield confined(Path(folder).resolve(), ESCAPES)


def alone(run: Confined) -> int:
    """Return what left loopback; skip the test where no network of our own is to be had to count in."""
    if run.unrouted is None:
        pytest.skip("this system does not let us make a network of our own (unshare --net)")
    return run.unrouted


def test_all_benchmarks_ran(benchmarks: Confined) -> None:
    """What is shown to keep to itself is the whole suite: every service was measured, and no test failed."""
    assert benchmarks.code in PASSED_OR_TOO_FEW_SAMPLES, benchmarks.output[-2000:]
    (path,) = (benchmarks.project / FOLDER).glob("*.json")
    run = load(path)
    assert [failure.reason for failure in run.failures if failure.kind == "failed"] == []
    services = {module.stem.split("_")[1] for module in (ROOT / "benchmarks").glob("test_*_performance.py")}
    assert {one.origin.service for one in run.measurements} == services
    assert "No limit was judged" not in benchmarks.output


def test_no_python_escapes(benchmarks: Confined) -> None:
    """No Python of a run writes outside its temporary folder and its saved runs, nor reaches beyond loopback."""
    assert benchmarks.notes == []


def test_no_program_reaches_beyond_loopback(benchmarks: Confined) -> None:
    """Nothing that a run starts, in whatever language, sends anything that is not for loopback."""
    assert alone(benchmarks) == 0


def test_no_program_leaves_files(benchmarks: Confined) -> None:
    """After a run the home and the temporary folder are empty, and the project has gained no more than its saved run.

    And an empty folder that pytest-benchmark makes whether or not it is asked to save.
    """
    assert benchmarks.files_in("home") == set()
    assert benchmarks.files_in("tmp") == set()
    modules = {path for path in benchmarks.files_in("project") if path.startswith("benchmarks")}
    gained = benchmarks.files_in("project") - modules - {"thresholds.toml", "pyproject.toml"}
    folders = {".benchmarks", ".khive", ".khive/performance", str(FOLDER)}
    assert {path for path in gained if not path.startswith(f"{FOLDER}/")} == folders


def test_escapes_of_python_are_noted(escapes: Confined) -> None:
    """The proof can fail: files and folders made, moved and removed, databases, hosts asked for and talked to show."""
    home = escapes.home

    assert escapes.notes == [
        f"open {home}/file",
        f"os.mkdir {home}/folder",
        f"os.rename {home}/file",
        f"os.rename {home}/moved",
        f"os.remove {home}/moved",
        f"os.rmdir {home}/folder",
        f"sqlite3.connect {home}/database",
        f"os.symlink {home}/here",
        "socket.connect 192.0.2.1",
        "socket.getaddrinfo nowhere.invalid",
    ]


def test_escapes_of_other_programs_are_found(escapes: Confined) -> None:
    """The proof can fail for programs that are no Python of ours: what they leave in the home is listed."""
    assert "by_child" in escapes.files_in("home")
    assert not any("by_child" in line for line in escapes.notes)


def test_what_other_programs_send_elsewhere_is_counted(escapes: Confined) -> None:
    """The proof can fail for programs that are no Python of ours: what they send beyond loopback is counted."""
    assert alone(escapes) > 1
