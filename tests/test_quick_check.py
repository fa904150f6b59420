"""The quick check, with real khive and a real Redis, and through the hook that runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from perf.record import baselines, store

ROOT = Path(__file__).parents[1]
SCRIPT = [sys.executable, "-m", "perf.quick_check"]


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERF_", "GIT_"))}
    scripts = str(Path(sys.executable).parent)
    return kept | {"PYTHONPATH": str(ROOT), "PATH": f"{scripts}{os.pathsep}{kept['PATH']}"} | variables


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, "--root", str(folder)], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of the quick benchmarks, as `nox -t dev -- -m quick` saves it."""
    folder = tmp_path_factory.mktemp("measured")
    command = [sys.executable, "-m", "pytest", "benchmarks", "-m", "quick", "-q", f"--perf-folder={folder}"]
    subprocess.run([*command, "--disable-warnings"], cwd=ROOT, env=environment(), check=True, capture_output=True)
    (run,) = folder.glob("*.json")
    return run


@pytest.fixture
def place(measured: Path, tmp_path: Path) -> Path:
    """A folder with five such runs, each a little different, the last of them the baseline."""
    history(measured, tmp_path, [1.0, 1.02, 0.98, 1.01, 0.99])
    return tmp_path


def history(run: Path, root: Path, factors: list[float]) -> None:
    """Save the run once for each factor, its times so many times as long, and promote the last."""
    runs = root / store.FOLDER
    runs.mkdir(parents=True)
    for number, factor in enumerate(factors, 1):
        document = json.loads(run.read_text())
        for benchmark in document["benchmarks"]:
            benchmark["stats"]["data"] = [factor * value for value in benchmark["stats"]["data"]]
        name = f"{number:04}{run.name[4:]}"
        (runs / name).write_text(json.dumps(document))
    promotion = baselines.Promotion(
        profile="dev", run=name, reason="a test", promoted="now", verdict="passed", commit=None, forced=False
    )
    baselines.promote(root, promotion)


def contents(root: Path) -> dict[str, bytes]:
    """Return every file below `root` except locks and the index, which can be deleted at any time."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path): path.read_bytes() for path in files}


def test_it_measures_each_service_and_saves_nothing(place: Path) -> None:
    """Five services are measured and judged with evidence; runs and baselines are as they were."""
    before = contents(place)

    done = check(place)

    rows = [line.split()[1] for line in done.stdout.splitlines() if line[:1] in "✓✗+?" and "median" in line]
    assert {"orchestration", "planning", "session", "artifacts", "cache"} == set(rows)
    assert done.stdout.splitlines()[-1].startswith("verdict: ")
    assert contents(place) == before


def test_it_fails_on_what_became_much_slower(measured: Path, tmp_path: Path) -> None:
    """Against a history ten times as fast every operation has regressed: exit code 1."""
    history(measured, tmp_path, [0.1, 0.102, 0.098, 0.101, 0.099])

    done = check(tmp_path)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "verdict: failed")


def test_too_short_a_history_is_no_pass(measured: Path, tmp_path: Path) -> None:
    """With two runs nobody knows how runs differ: exit code 3, and the command that adds one."""
    history(measured, tmp_path, [1.0, 1.01])

    done = check(tmp_path)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "verdict: inconclusive")
    assert "nox -t dev -- -m quick" in done.stdout


def test_without_a_baseline_nothing_is_measured(tmp_path: Path) -> None:
    """With nothing promoted it says so at once: exit code 3."""
    done = check(tmp_path)

    assert (done.returncode, done.stdout) == (3, "")
    assert "no baseline of profile dev" in done.stderr


def test_what_stops_the_measuring_is_said(place: Path) -> None:
    """When nothing could be measured, the one line that says why, and exit code 2."""
    done = subprocess.run(
        [*SCRIPT, "--root", str(place)],
        env=environment(PERF_CACHE_GTE_MS="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert "nothing was measured: " in done.stderr
    assert "PERF_CACHE_GTE_MS: names no limit; did you mean PERF_CACHE_GET_MS?" in done.stderr


def test_ctrl_c_leaves_nothing(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Interrupted in the midst of it: exit code 130, no process, no folder left."""
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *SCRIPT, "--root", str(place)],
        env=environment(TMPDIR=str(temporary)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not any(path.name.startswith("khive-perf-2") or "khive-perf" in path.name for path in temporary.iterdir()):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(timeout=60) == 130
    deadline = time.monotonic() + 10
    while any(temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [path.name for path in temporary.iterdir() if path.name.startswith("khive-perf")] == []
    assert str(temporary) not in listing


def test_the_hook_stops_a_commit_and_says_why(place: Path) -> None:
    """pre-commit, as it runs the hook here: without evidence the commit is stopped, with the verdict shown."""
    repository = Path(tempfile.mkdtemp(dir=place))
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    entry = f"{SCRIPT[0]} -m perf.quick_check"
    local = hook.replace("entry: khive-performance-quick-check", f"entry: {entry}").replace("\n", "\n      ")
    (repository / ".pre-commit-config.yaml").write_text(f"repos:\n  - repo: local\n    hooks:\n      {local}")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run([*git, "init", "--quiet"], cwd=repository, check=True)
    subprocess.run([*git, "add", "--all"], cwd=repository, check=True)
    home = str(place / "home")

    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files"],
        cwd=repository,
        env=environment(PRE_COMMIT_HOME=home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert "no baseline of profile dev" in done.stdout
    assert "exit code: 3" in done.stdout
    shutil.rmtree(repository)
