from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from perf.errors import MeasurementError, SaveError, UnreadableRunError
from perf.record import store
from perf.record.run import SECTION, Failure, LimitInForce, Measurement, Metric, Origin, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
ORIGIN = Origin(test="t.py::test_get", service="cache", category="benchmark", operation="cache_get")
LOADED = Measurement(
    origin=ORIGIN,
    kind="load",
    operation="cache_get",
    subject="a subject",
    concurrency=5,
    metrics={"throughput": Metric(812.5, "1/s", "higher")},
    errors={"OSError": 1},
    error_samples={"OSError": "OSError()"},
)
RUN = Run(
    created="2026-11-23T11:19:35+00:00",
    profile="dev",
    verdict="passed",
    environment={"suite": {"version": "0.1.0", "commit": "9b1dd2a2a6d4 (modified)"}, "services": ["Redis 6.2.14"]},
    settings={"measure.rounds": {"value": 20, "source": "thresholds.toml [defaults]"}},
    limits=[LimitInForce(service="cache", name="cache_get_ms", statistic="p95", bound=0.005, source="a test")],
    measurements=[LOADED],
    failures=[Failure(origin=ORIGIN, kind="not offered", reason="khive has no cache")],
)
ROUNDS = [0.001, 0.002, 0.003, 0.004]
STATS = {
    "min": 0.001, "max": 0.004, "mean": 0.0025, "stddev": 0.0013, "rounds": 4, "median": 0.0025, "iqr": 0.002,
    "q1": 0.0015, "q3": 0.0035, "iqr_outliers": 0, "stddev_outliers": 2, "outliers": "2;0", "ld15iqr": 0.001,
    "hd15iqr": 0.004, "ops": 400.0, "total": 0.01, "iterations": 1, "data": ROUNDS,
}  # fmt: skip


def document(**section: object) -> dict[str, Any]:
    """Return a whole pytest-benchmark document with our part, of which `section` replaces fields."""
    benchmark = {
        "group": "cache",
        "name": "test_cache_get",
        "fullname": "benchmarks/test_cache_performance.py::test_cache_get",
        "params": None,
        "param": None,
        "extra_info": {
            "service": "cache",
            "category": "benchmark",
            "operation": "cache_get",
            "subject": "redis.asyncio.Redis.get",
        },
        "options": {"disable_gc": False, "timer": "perf_counter"},
        "stats": STATS,
    }
    return {
        "machine_info": {"node": "here", "system": "Linux", "cpu": {"brand_raw": "a CPU"}},
        "commit_info": {"id": "9b1dd2a2a6d4", "dirty": True, "project": "khive", "branch": "main"},
        "benchmarks": [benchmark],
        "datetime": "2026-11-23T11:19:35.689370+00:00",
        "version": "5.3.1",
        SECTION: msgspec.to_builtins(RUN) | section,
    }


def visible(folder: Path) -> list[str]:
    """Return the names in `folder`, the lock's apart."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def pytest_benchmark(folder: Path, *words: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", f"--storage={folder}", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
    )
    return answer.stdout


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be subject to file permissions, which root is not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse, part-way, to write a longer file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_saved_run_comes_back_whole(tmp_path: Path) -> None:
    """What is loaded equals what was saved, with the rounds of pytest-benchmark as its first measurements."""
    path = store.save(document(), tmp_path / "new" / "folder")

    loaded = store.load(path)

    timed, *others = loaded.measurements
    assert msgspec.structs.replace(loaded, measurements=others) == RUN
    assert (timed.origin.test, timed.operation, timed.samples) == (
        "benchmarks/test_cache_performance.py::test_cache_get", "cache_get", ROUNDS,
    )  # fmt: skip


def test_a_name_tells_number_profile_time_and_commit(tmp_path: Path) -> None:
    """A file is named after its number, profile, UTC time and commit, in characters every system takes."""
    committed = store.save(document(profile="prod"), tmp_path)
    loose = store.save(document(environment={"suite": {"commit": None}}), tmp_path)

    assert committed.name == "0001_prod_20261123T111935_9b1dd2a2a6d4.json"
    assert loose.name == "0002_dev_20261123T111935_no-commit.json"


@pytest.mark.parametrize(
    ("there", "number"),
    [
        ((), "0001"),
        (("0002_a.json", "0007_b.json"), "0008"),
        (("9999_a.json",), "10000"),
        (("10000_a.json", "9999_a.json"), "10001"),
        (("notes.json", "0009.json", "0009_x.txt", ".0009_x.json.1.part", "baseline_0009.json"), "0001"),
    ],
)
def test_a_number_is_one_above_the_highest(tmp_path: Path, there: tuple[str, ...], number: str) -> None:
    """A gap is not filled again, other files do not count, and the count goes on after 9999."""
    for name in there:
        (tmp_path / name).touch()

    assert store.save(document(), tmp_path).name.partition("_")[0] == number
    assert set(there) <= set(visible(tmp_path))


SAVER = """
import sys
from pathlib import Path
import msgspec
from perf.record import store
document = msgspec.json.decode(sys.stdin.readline())
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    print(store.save(document, Path(sys.argv[1])).name, flush=True)
"""


def test_processes_that_save_at_once_get_different_numbers(tmp_path: Path) -> None:
    """Four processes that save five runs each at the same time leave twenty runs, numbered 1 to 20."""
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path / "runs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        for _ in range(4)
    ]
    for saver in savers:
        assert saver.stdin
        assert saver.stdout
        saver.stdin.write(msgspec.json.encode(document()) + b"\n")
        saver.stdin.flush()
        assert saver.stdout.readline() == b"ready\n"

    for saver in savers:  # all are waiting: let them go together
        assert saver.stdin
        saver.stdin.write(b"go\n")
        saver.stdin.flush()
    names = [name for saver in savers for name in saver.communicate(timeout=60)[0].decode().split()]

    assert sorted(int(name.partition("_")[0]) for name in names) == list(range(1, 21))
    assert visible(tmp_path / "runs") == sorted(names)
    assert [store.load(tmp_path / "runs" / name).created for name in names] == [RUN.created] * 20


def test_a_run_cut_short_on_disk_leaves_nothing(tmp_path: Path) -> None:
    """When the disk takes only part of a file, no file is left, the error says why, and the next save works."""
    store.save(document(), tmp_path)

    with files_of_at_most(512), pytest.raises(SaveError, match=r"not saved to .*: .*; ") as caught:
        store.save(document(), tmp_path)

    assert "\n" not in str(caught.value)
    assert visible(tmp_path) == ["0001_dev_20261123T111935_9b1dd2a2a6d4.json"]
    assert store.save(document(), tmp_path).name.startswith("0002_")


def test_a_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    """A run that may not be written ends in one line that names the folder and what to do."""
    store.save(document(), tmp_path)  # imports what saving needs while every folder can be read
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)

        with unprivileged(), pytest.raises(SaveError) as caught:
            store.save(document(), folder)

        assert str(folder) in str(caught.value)
        assert "make it writable" in str(caught.value)
        assert list(folder.iterdir()) == []


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is an error of ours, and stays as it was."""
    (tmp_path / "runs").write_text("mine", encoding="utf-8")

    with pytest.raises(SaveError, match="runs"):
        store.save(document(), tmp_path / "runs")

    assert (tmp_path / "runs").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({1, 2}, id="set"),
        pytest.param({(1, 2): 3}, id="tuple key"),
        pytest.param(2**80, id="large number"),
        pytest.param(object(), id="object"),
        pytest.param("\udc80", id="surrogate"),
    ],
)
def test_what_json_cannot_hold_does_not_lose_the_run(tmp_path: Path, odd: object) -> None:
    """A parameter of a benchmark that JSON has no form for is saved as text, and the run can be loaded."""
    whole = document()
    whole["benchmarks"][0]["params"] = {"odd": odd}

    assert store.load(store.save(whole, tmp_path)).profile == "dev"


SAVED = msgspec.json.encode(document())
NO_ROUNDS = document()
NO_ROUNDS["benchmarks"][0]["stats"] = {"median": 1.0}
TEXT_ROUNDS = document()
TEXT_ROUNDS["benchmarks"][0]["stats"] = {"data": ["0.001", None]}
FOREIGN = {key: value for key, value in document().items() if key != SECTION}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(SAVED[:-1], id="one byte short"),
        pytest.param(SAVED[: len(SAVED) // 2], id="half"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(SAVED.replace(b"9b1dd2a2a6d4", b"\xff\xfe\xff\xfe\xff\xfe", 1), id="not UTF-8 in a text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'"khive_performance"', id="text"),
        pytest.param(b"[" * 200_000, id="bottomless"),
        pytest.param(msgspec.json.encode(FOREIGN), id="of pytest-benchmark alone"),
        pytest.param(msgspec.json.encode({SECTION: None}), id="our part null"),
        pytest.param(msgspec.json.encode(document(measurements=[{"kind": "load"}])), id="half a measurement"),
        pytest.param(msgspec.json.encode(document(profile=3)), id="wrong type"),
        pytest.param(msgspec.json.encode(document() | {"benchmarks": None}), id="no benchmarks"),
        pytest.param(msgspec.json.encode(NO_ROUNDS), id="without raw rounds"),
        pytest.param(msgspec.json.encode(TEXT_ROUNDS), id="rounds that are no numbers"),
    ],
)
def test_a_file_that_is_no_run_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """Whatever else a file holds, the error is one line with its path that says it is no saved run."""
    path = tmp_path / "0001_dev.json"
    path.write_bytes(content)

    with pytest.raises(UnreadableRunError) as caught:
        store.load(path)

    assert str(caught.value).startswith(f"{path}: not a saved run of this suite")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [2, 99])
def test_a_newer_format_asks_for_an_update(tmp_path: Path, number: int) -> None:
    """A run of a later format is refused with both versions and what to do, whatever else it holds."""
    path = tmp_path / "0001_dev.json"
    path.write_bytes(msgspec.json.encode(document(format=number, profile={"name": "dev"})))

    with pytest.raises(UnreadableRunError, match=rf"0001_dev\.json: format {number}, .* format 1: update the suite"):
        store.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path without a file, or of a folder, is an unreadable run."""
    for path in (tmp_path / "0001_dev.json", tmp_path):
        with pytest.raises(UnreadableRunError, match=path.name):
            store.load(path)


def test_the_newest_is_the_highest_number_of_its_profile(tmp_path: Path) -> None:
    """The newest run is told by its number, not by its name's order, and another profile's is not looked at."""
    for number, profile in ((9999, "dev"), (10000, "dev"), (10001, "prod")):
        saved = store.save(document(profile=profile, created=f"run {number}"), tmp_path)
        saved.rename(tmp_path / f"{number}_{profile}_x.json")

    newest = store.newest(tmp_path, "dev")

    assert newest is not None
    assert newest.created == "run 10000"
    assert store.newest(tmp_path, "staging") is None


def test_pytest_benchmark_lists_a_saved_run(tmp_path: Path) -> None:
    """`pytest-benchmark list` finds every saved run in the folder, and nothing else."""
    paths = [store.save(document(), tmp_path) for _ in range(2)]

    assert pytest_benchmark(tmp_path, "list").split() == [str(path) for path in paths]


def test_pytest_benchmark_compares_saved_runs(tmp_path: Path) -> None:
    """`pytest-benchmark compare` reads saved runs and prints the figures they hold."""
    for _ in range(2):
        store.save(document(), tmp_path)

    table = pytest_benchmark(tmp_path, "compare", "0001", "0002", "--columns=median,rounds")

    rows = [line.split() for line in table.splitlines() if line.startswith("test_cache_get")]
    assert [[word[:3] for word in row[1:]] for row in rows] == [["(00", "2.5", "(1.", "4"]] * 2
    assert [row[1][1:5] for row in rows] == ["0001", "0002"]


def test_two_runs_never_measure_in_one_folder_at_once(tmp_path: Path) -> None:
    """While one process holds the folder another is refused in one line; once it has ended, the folder is free."""
    holder = (
        "import sys; from pathlib import Path; from perf.record.store import claim; lock = claim(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", f"{holder}; print('held', flush=True); sys.stdin.read()", str(tmp_path)]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(MeasurementError, match="another run is measuring in this folder"):
            store.claim(tmp_path)
        process.communicate()

    store.claim(tmp_path).release()
