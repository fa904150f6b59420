from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from filelock import FileLock

from perf.errors import MeasurementError, SaveError, UnreadableRunError
from perf.record.benchmark import PerformanceBenchmark
from perf.record.storage import FILE, BenchmarkStorage
from perf.record.store import FOLDER

from .saved_runs import document, write_run
from .test_store import files_of_at_most, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.now(UTC).replace(microsecond=0)
REPOSITORY = Path(__file__).parents[1]


def benchmark(**parts: Any) -> PerformanceBenchmark:  # noqa: ANN401
    usual: dict[str, Any] = {
        "test_name": "cache_performance",
        "operation_type": "cache_get",
        "timestamp": NOW,
        "metrics": {"avg_operation_time": 0.004, "throughput": 1200, "memory_usage": 25.3},
    }
    return PerformanceBenchmark(**{**usual, **parts})


def load(storage: BenchmarkStorage, operation: str = "cache_get", days_back: float = 30) -> list[PerformanceBenchmark]:
    return storage.load_benchmarks("cache_performance", operation, days_back)


@pytest.fixture
def storage(tmp_path: Path) -> BenchmarkStorage:
    return BenchmarkStorage(tmp_path)


def test_what_is_saved_comes_back(storage: BenchmarkStorage) -> None:
    """A benchmark comes back as it was saved, for its own test and operation and for no other."""
    for parts in ({}, {"operation_type": "cache_set"}, {"test_name": "planning_performance"}):
        storage.save_benchmark(benchmark(**parts))

    assert load(storage) == [benchmark()]
    assert load(storage, "cache_set") == [benchmark(operation_type="cache_set")]
    assert load(storage, "cache") == []


def test_the_users_own_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder, benchmarks are kept below the folder one works in; a time without a zone is local time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        local = datetime.now()  # noqa: DTZ005 - as the user's own example does
        BenchmarkStorage().save_benchmark(benchmark(timestamp=local))

        [found] = load(BenchmarkStorage())

        assert found.timestamp == local.replace(tzinfo=timezone(timedelta(hours=9)))
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert (tmp_path / FOLDER / FILE).exists()


def test_a_folder_may_be_named_by_text(tmp_path: Path) -> None:
    """A folder given as text is the folder of that path, as in the README's example."""
    one = benchmark()

    BenchmarkStorage(str(tmp_path)).save_benchmark(one)

    assert load(BenchmarkStorage(tmp_path)) == [one]


def test_benchmarks_come_oldest_first_of_the_days_asked_for(storage: BenchmarkStorage) -> None:
    """They are ordered by their time, not by when they were saved, and older ones than asked for are left out."""
    zone = timezone(timedelta(hours=-5))
    for days in (3.0, 1.0, 40.0, 29.9, 30.1):
        storage.save_benchmark(benchmark(timestamp=(NOW - timedelta(days=days)).astimezone(zone)))

    def ages(days_back: float) -> list[float]:
        return [round((NOW - one.timestamp) / timedelta(days=1), 1) for one in load(storage, days_back=days_back)]

    assert ages(30) == [29.9, 3.0, 1.0]
    assert ages(2) == [1.0]
    assert ages(float("inf")) == [40.0, 30.1, 29.9, 3.0, 1.0]


def test_numbers_of_any_kind_are_kept_as_floats(storage: BenchmarkStorage) -> None:
    """A whole number and one of numpy's come back as floats of the same value."""
    storage.save_benchmark(benchmark(metrics={"a": 3, "b": np.float32(0.5), "c": np.int64(7)}))

    assert load(storage)[0].metrics == {"a": 3.0, "b": 0.5, "c": 7.0}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"metrics": {"avg": float("nan")}}, "'avg' = nan: give a finite number"),
        ({"metrics": {"avg": float("inf")}}, "'avg' = inf: give a finite number"),
        ({"metrics": {"avg": np.float64("-inf")}}, "give a finite number"),
        ({"metrics": {"avg": 10**400}}, "give a finite number"),
        ({"metrics": {"avg": "0.1"}}, "'avg' = '0.1': give a finite number"),
        ({"metrics": {"avg": None}}, "'avg' = None: give a finite number"),
        ({"metrics": {"avg": True}}, "'avg' = True: give a finite number"),
        ({"metrics": {"avg": [1.0]}}, "give a finite number"),
        ({"metrics": {"avg": np.zeros((3, 3))}}, "= array([[0., 0., 0.], [0.,"),
        ({"metrics": {1: 1.0}}, "1 = 1.0: give a finite number by a name"),
        ({"metrics": [("avg", 1.0)]}, "metrics that are no dict"),
        ({"metrics": None}, "metrics that are no dict"),
        ({"timestamp": "2026-11-24"}, "give names as text and a datetime"),
        ({"timestamp": None}, "give names as text and a datetime"),
        ({"timestamp": datetime.min}, "give names as text and a datetime"),  # noqa: DTZ901 - local time has no year 0
        ({"test_name": None}, "give names as text"),
        ({"operation_type": 3}, "give names as text"),
        ({"operation_type": "\udc80"}, "give names as text"),
    ],
)
def test_what_is_no_benchmark_is_refused(storage: BenchmarkStorage, tmp_path: Path, parts: Any, said: str) -> None:  # noqa: ANN401
    """A figure that is no finite number, or a part of another type, is one clear line, and nothing is kept."""
    with pytest.raises(MeasurementError) as caught:
        storage.save_benchmark(benchmark(**parts))

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "<b>|x|</b>", "a\nb\r\0", '"é"', ""])
def test_names_are_data(tmp_path: Path, name: str) -> None:
    """Names with path separators, HTML, newlines or nothing in them come back, and name no file."""
    storage = BenchmarkStorage(tmp_path / "a" / "b")
    one = benchmark(test_name=name, operation_type=name, metrics={name: 1.0})

    storage.save_benchmark(one)

    assert storage.load_benchmarks(name, name) == [one]
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {FILE, f".{FILE}.lock"}


def run_of(folder: Path, number: int, *, days: float, **parts: Any) -> None:  # noqa: ANN401
    write_run(folder, number=number, created=(NOW - timedelta(days=days)).isoformat(), **parts)


def test_what_saved_runs_measured_is_loaded(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """The rounds of a saved run are a benchmark in seconds, beside those that were saved, oldest first."""
    run_of(tmp_path, 1, days=2, times={"cache_get": [0.001, 0.002, 0.003, 0.006]})
    storage.save_benchmark(benchmark())

    measured, saved = load(storage)

    assert saved == benchmark()
    assert measured == benchmark(
        timestamp=NOW - timedelta(days=2),
        metrics={
            "avg_operation_time": 0.003,
            "median_operation_time": 0.0025,
            "p50_operation_time": 0.0025,
            "p95_operation_time": pytest.approx(0.00555),
            "min_operation_time": 0.001,
            "throughput": pytest.approx(1000 / 3),
        },
    )


def test_parameters_are_told_apart(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """An operation gives the figures of each of its parameters apart, one with its parameters just its own."""
    run_of(tmp_path, 1, days=1, times={"cache_get[1KiB]": [0.1], "cache_get[1MiB]": [0.2], "cache_gets": [0.3]})

    assert [one.operation_type for one in load(storage)] == ["cache_get[1KiB]", "cache_get[1MiB]"]
    assert [one.metrics["avg_operation_time"] for one in load(storage, "cache_get[1MiB]")] == [0.2]
    assert load(storage, "cache_get[") == []
    assert storage.load_benchmarks("planning_performance", "cache_get") == []


def test_only_runs_like_the_newest_count(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """Runs of another profile, machine or effort than the newest, and runs without timings, are no history of it."""
    run_of(tmp_path, 1, days=9, times={"cache_get": [0.1]})
    run_of(tmp_path, 2, days=8, times={"cache_get": [0.2]}, profile="prod")
    run_of(tmp_path, 3, days=7, times={"cache_get": [0.3]}, machine={"cpus": 64})
    run_of(tmp_path, 4, days=6, times={"cache_get": [0.4]}, settings={"measure.rounds": 5})
    run_of(tmp_path, 5, days=5, times={"cache_get": [0.5]}, untimed="Tests ran in parallel under xdist")
    run_of(tmp_path, 6, days=4, times={"cache_get": [0.6]})
    run_of(tmp_path, 7, days=40, times={"cache_get": [0.7]})

    assert [one.metrics["avg_operation_time"] for one in load(storage)] == [0.1, 0.6]


def test_load_tests_are_no_operation_times(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """Figures of operations that ran beside others do not mix with those of one at a time."""
    run_of(tmp_path, 1, days=1, times={}, loads={("cache_get", 5): {"throughput": 900.0}})

    assert load(storage) == []


def test_nothing_saved_is_an_empty_history(tmp_path: Path) -> None:
    """Before anything is saved there is an empty list, and looking makes no folder."""
    assert load(BenchmarkStorage(tmp_path / "new")) == []
    assert list(tmp_path.iterdir()) == []


def line(**parts: object) -> bytes:
    return msgspec.json.encode({"format": 1, "benchmark": msgspec.to_builtins(benchmark()) | parts})


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\xfe", b"null", b"[" * 200_000, line()[:-5], line(metrics={"a": None}), line(timestamp="now"),
     line(metrics={"a": 1}).replace(b"1}", b"1e999}"), line().replace(b'"format":1', b'"format":2')],
    ids=["empty", "half", "not UTF-8", "null", "bottomless", "cut", "null figure", "no time", "infinite", "format"],
)  # fmt: skip
def test_a_damaged_line_is_told_and_the_rest_is_loaded(
    storage: BenchmarkStorage, tmp_path: Path, damage: bytes
) -> None:
    """A line that is no benchmark is left out with a warning that tells where it is, and it stays in the file."""
    storage.save_benchmark(benchmark())
    with (tmp_path / FILE).open("ab") as file:
        file.write(damage + b"\n")
    storage.save_benchmark(benchmark())

    with pytest.warns(UserWarning, match=rf"{FILE}, line 2: not a benchmark .*left out") as warned:
        assert load(storage) == [benchmark()] * 2
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert damage in (tmp_path / FILE).read_bytes()


def test_a_damaged_run_is_told_and_the_rest_is_loaded(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """A saved run that cannot be read is left out of a history with a warning that names it."""
    run_of(tmp_path, 1, days=1, times={"cache_get": [0.1]})
    (tmp_path / "0002_dev_x.json").write_bytes(msgspec.json.encode(document())[:-1])

    with pytest.warns(UserWarning, match=r"0002_dev_x\.json: not a saved run .*; it was left out"):
        assert len(load(storage)) == 1


def test_a_save_that_was_cut_short_spoils_no_other(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """Half a line that a crash left at the end is no benchmark yet, and the next save stands on its own line."""
    storage.save_benchmark(benchmark())
    with (tmp_path / FILE).open("ab") as file:
        file.write(line()[:20])

    assert load(storage) == [benchmark()]
    storage.save_benchmark(benchmark())
    with pytest.warns(UserWarning, match="line 2"):
        assert load(storage) == [benchmark()] * 2


def test_a_full_disk_keeps_what_was_there(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """When the disk takes only part of a line, the file is as it was, the error says why, and the next save works."""
    storage.save_benchmark(benchmark())
    before = (tmp_path / FILE).read_bytes()

    with (
        files_of_at_most(len(before) + 10),
        pytest.raises(SaveError, match=r"not kept in .*: .*; free space") as caught,
    ):
        storage.save_benchmark(benchmark())

    assert "\n" not in str(caught.value)
    assert (tmp_path / FILE).read_bytes() == before
    storage.save_benchmark(benchmark())
    assert len(load(storage)) == 2


@pytest.fixture
def read_only() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_folder_that_is_read_only_is_named(read_only: Path) -> None:
    """A benchmark that may not be written, or a file that may not be read, is an error that names it."""
    (read_only / FILE).touch(mode=0)

    with unprivileged():
        with pytest.raises(SaveError, match=f"{read_only}.*make it writable"):
            BenchmarkStorage(read_only).save_benchmark(benchmark())
        with pytest.raises(UnreadableRunError, match=f"{FILE}: Permission denied; make it readable"):
            load(BenchmarkStorage(read_only))


def test_a_save_waits_for_another_to_end(
    storage: BenchmarkStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process is saving nothing is written, for either may have to cut the file back to what it was."""
    monkeypatch.setattr("perf.record.storage._LOCK_SECONDS", 0.01)

    with FileLock(tmp_path / f".{FILE}.lock"), pytest.raises(SaveError, match="not kept"):
        storage.save_benchmark(benchmark())

    assert not (tmp_path / FILE).exists()


SAVER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from perf.record.benchmark import PerformanceBenchmark
from perf.record.storage import BenchmarkStorage
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    BenchmarkStorage(Path(sys.argv[1])).save_benchmark(PerformanceBenchmark(
        test_name="cache_performance", operation_type="cache_get", timestamp=datetime.now(UTC),
        metrics={"saver": int(sys.argv[2]), "number": number},
    ))
"""


def test_saves_at_once_are_all_kept(storage: BenchmarkStorage, tmp_path: Path) -> None:
    """Four processes that save ten benchmarks each at the same time leave forty whole ones."""
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), str(one)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        for one in range(4)
    ]
    for saver in savers:
        assert saver.stdout
        assert saver.stdout.readline() == b"ready\n"

    for saver in savers:  # all are waiting: let them go together
        assert saver.stdin
        saver.stdin.write(b"go\n")
        saver.stdin.flush()
    for saver in savers:
        saver.communicate(timeout=60)

    found = sorted((one.metrics["saver"], one.metrics["number"]) for one in load(storage))
    assert found == [(saver, number) for saver in range(4) for number in range(10)]
