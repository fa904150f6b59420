from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.distribution import percentile
from perf.errors import UnreadableRunError
from perf.record import index, store
from perf.record.index import INDEX, load_summary, summaries
from perf.record.run import SECTION, Measurement, Metric, Origin
from perf.record.summary import Figures, Operation, SavedRuns

from .saved_runs import document, write_run
from .test_store import files_of_at_most, pytest_benchmark, unprivileged

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = "benchmarks/test_cache_performance.py::"
REPOSITORY = Path(__file__).parents[1]


def seconds(**values: float) -> dict[str, Metric]:
    return {name: Metric(value, "s", "lower") for name, value in values.items()}


def figures(folder: Path) -> list[Figures]:
    [run] = summaries(folder).runs
    return run.figures


def only_reason(folder: Path) -> str:
    saved = summaries(folder)
    assert saved.runs == []
    [unreadable] = saved.unreadable
    return unreadable.reason


def write(folder: Path, whole: object, name: str = "0001_dev_x_y.json") -> Path:
    path = folder / name
    path.write_bytes(whole if isinstance(whole, bytes) else msgspec.json.encode(whole))
    return path


def test_a_run_is_summed_up_in_words_and_figures(tmp_path: Path) -> None:
    """A summary tells which run it is, where and how it was measured, and the figures of its rounds in seconds."""
    write_run(
        tmp_path,
        number=12,
        profile="prod",
        commit="9b1dd2a2a6d4 (modified)",
        khive={"commit": "51b0c2ad1234"},
        times={"cache_get[1KiB]": [0.004, 0.001, 0.003, 0.002]},
    )

    [run] = summaries(tmp_path).runs

    assert (run.number, run.name) == (12, "0012_prod_20261124T120113_9b1dd2a2a6d4.json")
    assert (run.profile, run.commit, run.build) == ("prod", "9b1dd2a2a6d4 (modified)", "khive 0.4.0 at 51b0c2ad1234")
    assert (run.created, run.verdict, run.untimed) == ("2026-11-24T12:01:13+00:00", "passed", None)
    assert run.machine == "2 × AMD EPYC, 24 GiB, x86_64, Linux"
    assert run.settings == "environment.redis installed, measure.concurrency 1/5, measure.rounds 25"
    [found] = run.figures
    assert found.operation == Operation(
        "cache", "cache_get[1KiB]", f"{CACHE}test_cache_get[1KiB]", "cache_get", "latency", 1
    )
    assert found.samples == 4
    assert found.metrics == seconds(median=0.0025, mean=0.0025, min=0.001, p95=pytest.approx(0.00385))  # type: ignore[arg-type]


def test_other_measurements_keep_their_metrics(tmp_path: Path) -> None:
    """Load and memory figures keep value, unit and direction; recorded operations have their test's parameters."""
    write_run(
        tmp_path,
        times={},
        recorded={"cache_miss[cold]": [0.5]},
        loads={("cache_get", 5): {"throughput": 900.0}},
        memories={"cache_set": {"memory_growth": -4096.0}},
    )

    recorded, load, memory = figures(tmp_path)

    assert (recorded.operation.name, recorded.samples) == ("cache_miss[cold]", 1)
    assert (load.operation.name, load.operation.kind, load.operation.concurrency) == ("cache_get", "load", 5)
    assert (load.metrics, load.samples) == ({"throughput": Metric(900.0, "1/s", "higher")}, 0)
    assert (memory.operation.kind, memory.metrics) == ("memory", {"memory_growth": Metric(-4096.0, "B", "lower")})


@pytest.mark.parametrize(
    ("test", "name"),
    [("t.py::test_get", "get"), ("t.py::TestGet::test_it[a::b[0]]", "get[a::b[0]]"), ("[x]/t.py::test_get", "get")],
)
def test_parameters_are_those_of_the_test(tmp_path: Path, test: str, name: str) -> None:
    """The parameters in a test's id are told from its path and classes, whatever brackets and colons they hold."""
    origin = Origin(test=test, service="cache", category="benchmark", operation="x")
    whole = document(times={})
    measurement = Measurement(origin=origin, kind="latency", operation="get", subject="made up", samples=[0.5])
    whole[SECTION]["measurements"] = [msgspec.to_builtins(measurement)]
    write(tmp_path, whole)

    assert [one.operation.name for one in figures(tmp_path)] == [name]


def test_what_was_measured_twice_is_one_operation(tmp_path: Path) -> None:
    """Rounds of the same operation in one run are pooled, other metrics become their median: no key comes twice."""
    whole = document(times={"cache_get": [0.1, 0.2]}, memories={"cache_set": {"memory_growth": 10}})
    section = whole[SECTION]
    whole["benchmarks"] *= 2
    section["measurements"] = [
        {**one, "metrics": {"memory_growth": {"value": value, "unit": "B", "better": "lower"}}}
        for one in section["measurements"]
        for value in (10.0, 30.0, 1e6)
    ]
    write(tmp_path, whole)

    pooled, memory = figures(tmp_path)

    assert pooled.samples == 4
    assert memory.metrics == {"memory_growth": Metric(30.0, "B", "lower")}


def test_figures_beyond_numbers_do_not_break_the_index(tmp_path: Path) -> None:
    """A median that no number can hold, of the largest and the smallest there are, is refused as a time would be."""
    whole = document(memories={"cache_set": {"memory_growth": 1.7e308}})
    measurements = whole[SECTION]["measurements"]
    measurements.append(msgspec.json.decode(msgspec.json.encode(measurements[0]).replace(b"1.7e308", b"-1.7e308")))
    write(tmp_path, whole)

    assert "has a memory_growth of inf B, which it cannot be" in only_reason(tmp_path)


def test_a_summary_leaves_nothing_out(tmp_path: Path) -> None:
    """Every measurement that the store loads from a run is in its summary, under its own key."""
    path = write_run(
        tmp_path,
        recorded={"cache_miss": [0.5]},
        loads={("cache_get", tasks): {"throughput": 900.0} for tasks in (1, 5)},
        memories={"cache_set": {"memory_growth": 1.0}},
    )

    measured = [(one.origin.test, one.kind, one.operation, one.concurrency) for one in store.load(path).measurements]

    keys = [one.operation for one in figures(tmp_path)]
    assert [(key.test, key.kind, key.operation, key.concurrency) for key in keys] == measured


def test_a_test_without_a_successful_operation_has_no_figures(tmp_path: Path) -> None:
    """An operation that only failed is missing from the summary; it is no reason to refuse the rest of the run."""
    write_run(tmp_path, recorded={"cache_miss": []}, times={"cache_get": [0.1]})

    assert [one.operation.operation for one in figures(tmp_path)] == ["cache_get"]


def test_benchmarks_of_another_suite_are_passed_over(tmp_path: Path) -> None:
    """A benchmark without a service and an operation of ours is left out, whatever it holds."""
    whole = document(times={"cache_get": [0.1]})
    whole["benchmarks"].append({"name": "n", "fullname": "f", "extra_info": {}, "stats": {"data": [-1.0]}})
    write(tmp_path, whole)

    assert [one.operation.operation for one in figures(tmp_path)] == ["cache_get"]


@given(rounds=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_suite(rounds: list[float]) -> None:
    """Median and p95 of a summary equal `perf.distribution.percentile` of the same rounds to the last digits."""
    found = index._latency(Operation("", "", "", "", "latency", 1), rounds)  # noqa: SLF001

    assert found["median"].value == pytest.approx(percentile(rounds, 50), rel=1e-12)
    assert found["p95"].value == pytest.approx(percentile(rounds, 95), rel=1e-12)
    assert found["min"].value == min(rounds)


def machine_of(folder: Path, **machine: object) -> str:
    with TemporaryDirectory(dir=folder) as name:
        return load_summary(write_run(Path(name), machine=machine)).machine


def test_a_hosted_machine_is_known_again(tmp_path: Path) -> None:
    """A machine keeps its text under another name, kernel and some MiB more; more cores or another CPU are another."""
    usual = machine_of(tmp_path)

    assert machine_of(tmp_path, node="renamed", system="Linux 7.0.1", memory_bytes=25376502016) == usual
    others: list[dict[str, object]] = [{"cpus": 4}, {"cpu": "other"}, {"memory_bytes": 2**35}, {"system": "Darwin 24"}]
    assert len({usual, *(machine_of(tmp_path, **other) for other in others)}) == 5


def test_settings_are_equal_by_value(tmp_path: Path) -> None:
    """Two and 2.0 seconds are one setting, for a file and a variable write them differently; 2 and 3 are not."""
    texts = [
        load_summary(write_run(tmp_path, number=number, settings={"measure.seconds": value})).settings
        for number, value in enumerate((2, 2.0, 3), start=1)
    ]

    assert texts[0] == texts[1] != texts[2]


def test_runs_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Run 10000 comes after 9999, and files that are not named as runs are passed over."""
    for number in (10000, 9999, 2):
        write_run(tmp_path, number=number)
    for name in ("notes.json", "0009.json", "0009_x.txt", ".0009_x.json.1.part", "benchmarks.jsonl"):
        write(tmp_path, b"mine", name)

    saved = summaries(tmp_path)

    assert [run.number for run in saved.runs] == [2, 9999, 10000]
    assert saved.unreadable == []


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Before the first run there is no folder, and none is made; a file in its place is an error."""
    assert summaries(tmp_path / "runs") == SavedRuns(runs=[], unreadable=[])
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UnreadableRunError, match="name the folder"):
        summaries(write(tmp_path, b""))


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    whole = document()
    change(whole)
    return msgspec.json.encode(whole)


def timed(time: bytes) -> bytes:
    return msgspec.json.encode(document(times={"cache_get": [0.1, 0.0625]})).replace(b"0.0625]", time + b"]")


WHOLE = msgspec.json.encode(document())
BAD = {
    "empty": (b"", "the file is empty; delete it"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "cut short or damaged: .*; delete it"),
    "one byte short": (WHOLE[:-1], "cut short or damaged: .*; delete it"),
    "UTF-16": (WHOLE.decode().encode("utf-16"), "not UTF-8 text"),
    "Latin-1 in what is passed over": (WHOLE.replace(b'"project":"khive"', b'"project":"\xe9"'), "not UTF-8 text"),
    "half a surrogate": (WHOLE.replace(b'"passed"', b'"\\ud800"'), "not a saved run"),
    "null": (b"null", "not a saved run of this suite"),
    "list": (b"[]", "not a saved run of this suite"),
    "number": (b"9" * 5000, "not a saved run of this suite"),
    "bottomless": (b"[" * 200_000, "not a saved run of this suite"),
    "deep in what is passed over": (nested(200_000), "it is nested too deeply"),
    "of pytest-benchmark alone": (changed(lambda run: run.pop(SECTION)), "missing required field `khive_performance`"),
    "our part null": (changed(lambda run: run.update({SECTION: None})), "got `null`"),
    "another format": (changed(lambda run: run[SECTION].update(format=2)), "format 2, and .* format 1: update"),
    "another shape": (changed(lambda run: run.update({SECTION: {"format": "2.0"}})), "format '2.0', and .*: update"),
    "no machine": (changed(lambda run: run[SECTION]["environment"].pop("machine")), "missing required field `machine`"),
    "made at no time": (changed(lambda run: run[SECTION].update(created="now\n")), "Invalid isoformat string: 'now"),
    "no rounds": (changed(lambda run: run["benchmarks"][0].update(stats={"data": []})), "has no rounds"),
    "a setting of 5,000 digits": (WHOLE.replace(b'"value":25', b'"value":' + b"9" * 5000), "out of range"),
    "a setting nested deeply": (WHOLE.replace(b'"value":25', b'"value":' + b"[" * 800 + b"]" * 800), "recursion"),
    "negative load": (
        msgspec.json.encode(document(loads={("cache_get", 5): {"p95_response_time": -1.0}})),
        "has a p95_response_time of -1 s",
    ),
    "zero": (timed(b"0.0"), "has a round of 0 s, which it cannot be; delete it and measure again"),
    "too small": (timed(b"1e-400"), "has a round of 0 s"),
    "negative": (timed(b"-0.5"), "has a round of -0.5 s"),
    "NaN": (timed(b"NaN"), "it holds NaN or Infinity"),
    "infinite": (timed(b"-Infinity"), "it holds NaN or Infinity"),
    "beyond numbers": (timed(b"1e999"), "out of range"),
    "5,000 digits": (timed(b"9" * 5000), "out of range"),
    "endless in sum": (timed(b"1.7e308,1.7e308"), "has a round of 1.7e.308 s"),
    "null time": (timed(b"null"), "Expected `float`, got `null`"),
    "text": (timed(b'"0.1"'), "Expected `float`, got `str`"),
}


@given(place=st.integers(0, len(WHOLE) - 1), other=st.binary(max_size=3))
def test_no_damage_is_an_exception(place: int, other: bytes) -> None:
    """Whatever byte of a run is lost or replaced, it is read, or refused in one line, and never anything else."""
    damaged = WHOLE[:place] + other + WHOLE[place + 1 :]

    try:
        index._summary("0001_dev.json", "0001_dev.json", damaged)  # noqa: SLF001
        said = "0001_dev.json: it can be read"
    except UnreadableRunError as error:
        said = str(error)

    assert said.startswith("0001_dev.json: ")
    assert said.isprintable()


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_run_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    """Such a file is set apart in one line that names it, says what is wrong and what to do; others are read."""
    path = write(tmp_path, content, "0007_staging_x_y.json")
    write_run(tmp_path, number=1)

    for _ in ("read", "from the index"):
        saved = summaries(tmp_path)

        assert [run.number for run in saved.runs] == [1]
        [unreadable] = saved.unreadable
        assert (unreadable.name, unreadable.number, unreadable.profile) == (path.name, 7, "staging")
        assert unreadable.reason.startswith(f"{path.name}: ")
        assert "\n" not in unreadable.reason
        with pytest.raises(UnreadableRunError, match=reason):
            load_summary(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file beyond the limit is refused by its size; the largest allowed one is read (and found to be no run)."""
    path = write(tmp_path, b"")
    os.truncate(path, index.LARGEST + 1)

    assert only_reason(tmp_path) == "0001_dev_x_y.json: larger than 256 MiB; move it elsewhere"
    with pytest.raises(UnreadableRunError, match="larger than 256 MiB"):
        load_summary(path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe, a folder and a link to nothing under a run's name are set apart without being opened."""
    os.mkfifo(tmp_path / "0001_dev_a.json")
    (tmp_path / "0002_dev_b.json").mkdir()
    (tmp_path / "0003_dev_c.json").symlink_to("nowhere")

    reasons = [one.reason for one in summaries(tmp_path).unreadable]

    assert [reason.split(": ")[1].split(";")[0] for reason in reasons] == [
        "not a file", "not a file", "No such file or directory",
    ]  # fmt: skip


def test_leave_to_read_is_noticed(tmp_path: Path) -> None:
    """A file that may not be read is set apart, and read as soon as it may be, though its stamp is the same."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        path = write_run(folder)
        path.chmod(0)
        with unprivileged():
            assert "Permission denied; make it readable" in only_reason(folder)
            with pytest.raises(UnreadableRunError, match="Permission denied"):
                load_summary(path)

        path.chmod(0o644)

        assert len(summaries(folder).runs) == 1


def test_a_number_beyond_all_runs_is_none(tmp_path: Path) -> None:
    """A name of more digits than a run's number can have is passed over, as no run's."""
    write_run(tmp_path, name=f"{'9' * 100}_dev_x.json")
    write_run(tmp_path, number=999_999_999_999_999_999)

    assert [run.number for run in summaries(tmp_path).runs] == [999_999_999_999_999_999]
    assert (tmp_path / INDEX).exists()


def test_a_name_that_is_no_text_does_not_break_the_index(tmp_path: Path) -> None:
    """A file whose name is not UTF-8 is set apart under a name that can be printed; the index is kept."""
    odd = os.fsdecode(b"0001_dev_\xff.json")
    write_run(tmp_path, name=odd)
    write_run(tmp_path, number=2)

    saved = summaries(tmp_path)

    assert saved.unreadable[0].reason == "0001_dev_\\udcff.json: its name is not UTF-8 text; rename it"
    assert (tmp_path / INDEX).exists()
    assert summaries(tmp_path) == saved


@pytest.mark.parametrize(
    "name",
    ["cache_<script>", "cache_|a|`b`", "cache_../../etc", "cache_a\nb", "cache_\x1b[31m", 'cache_"é"'],
)
def test_names_are_data(tmp_path: Path, name: str) -> None:
    """Names with HTML, Markdown, path separators, newlines or control characters come back as they were."""
    write_run(tmp_path, times={name: [0.1]})

    for _ in ("read", "from the index"):
        assert [one.operation.operation for one in figures(tmp_path)] == [name.partition("[")[0]]


def test_a_reason_is_one_line_whatever_a_test_is_called(tmp_path: Path) -> None:
    """A newline or an escape code in a test's name is spelt out in the reason that names the test."""
    write_run(tmp_path, times={"cache_a\nb\x1b": [0.0]})

    assert "\n" not in only_reason(tmp_path)
    assert "\x1b" not in only_reason(tmp_path)


def read_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which the name of every file that is read from now on is added."""
    names: list[str] = []
    contents = index._contents  # noqa: SLF001

    def noted(path: str) -> tuple[tuple[int, int], bytes | None]:
        names.append(Path(path).name[:4])
        return contents(path)

    monkeypatch.setattr(index, "_contents", noted)
    return names


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is read once; then only files that are new, of another size or of another time are, and gone ones go."""
    paths = [write_run(tmp_path, number=number) for number in range(1, 5)]
    first = summaries(tmp_path)
    names = read_names(monkeypatch)

    assert summaries(tmp_path) == first
    assert names == []

    os.utime(paths[0], ns=(1, 1))
    write_run(tmp_path, number=2, verdict="inconclusive")
    paths[2].unlink()
    write_run(tmp_path, number=5)
    second = summaries(tmp_path)

    assert sorted(names) == ["0001", "0002", "0005"]
    assert [(run.number, run.verdict) for run in second.runs] == [
        (1, "passed"), (2, "inconclusive"), (4, "passed"), (5, "passed"),
    ]  # fmt: skip
    assert summaries(tmp_path) == second
    assert len(names) == 3


INDEXES = {
    "empty": b"",
    "half": b'{"version":',
    "not UTF-8": b"\xff\xfe",
    "bottomless": b"[" * 200_000,
    "of another version": b'{"version":"0","files":{}}',
    "of another shape": b'{"version":0,"files":[]}',
    "null": b"null",
}


@pytest.mark.parametrize("damage", INDEXES.values(), ids=INDEXES)
def test_a_damaged_index_is_built_anew(tmp_path: Path, damage: bytes) -> None:
    """Whatever stands in the index's place, the answer is the same, and a good index stands there afterwards."""
    write_run(tmp_path)
    saved = summaries(tmp_path)
    good = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).write_bytes(damage)

    assert summaries(tmp_path) == saved
    assert (tmp_path / INDEX).read_bytes() == good


def test_another_versions_index_is_not_believed(tmp_path: Path) -> None:
    """An index that is whole but of another version counts for nothing, however well its entries look."""
    write_run(tmp_path)
    saved = summaries(tmp_path)
    path = tmp_path / INDEX
    other = msgspec.json.decode(path.read_bytes()) | {"version": "2"}
    path.write_bytes(msgspec.json.encode(other).replace(b'"passed"', b'"failed"'))

    assert summaries(tmp_path) == saved


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    """A read-only folder, a full disk or a folder in the index's place leave the answer as it is, and no litter."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder)
        folder.chmod(0o555)
        with unprivileged():
            assert len(summaries(folder).runs) == 1
        folder.chmod(0o755)
        with files_of_at_most(100):
            assert len(summaries(folder).runs) == 1
        assert len(list(folder.iterdir())) == 1
    write_run(tmp_path)
    (tmp_path / INDEX).mkdir()
    assert len(summaries(tmp_path).runs) == 1


READER = """
import sys
from pathlib import Path
from perf.record.index import INDEX, summaries
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    (folder / INDEX).unlink(missing_ok=True)
    print(len(summaries(folder).runs), flush=True)
"""


def test_processes_that_index_at_once_agree(tmp_path: Path) -> None:
    """Processes that build the index at the same time each get all runs, and leave one whole index and no litter."""
    for number in range(1, 21):
        write_run(tmp_path, number=number)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
        )
        for _ in range(3)
    ]
    for reader in readers:
        assert reader.stdout
        assert reader.stdout.readline() == b"ready\n"

    for reader in readers:  # all are waiting: let them go together
        assert reader.stdin
        reader.stdin.write(b"go\n")
        reader.stdin.flush()
    counts = [count for reader in readers for count in reader.communicate(timeout=60)[0].split()]

    assert counts == [b"20"] * 60
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [INDEX]
    assert len(index._read_index(tmp_path)) == 20  # noqa: SLF001


def test_pytest_benchmark_does_not_see_the_index(tmp_path: Path) -> None:
    """`pytest-benchmark list` and `compare` find the runs beside an index, and nothing else."""
    path = write_run(tmp_path)
    summaries(tmp_path)

    assert pytest_benchmark(tmp_path, "list").split() == [str(path)]
    assert "benchmark 'cache': 1 tests" in pytest_benchmark(tmp_path, "compare")


def test_a_file_anywhere_is_summed_up(tmp_path: Path) -> None:
    """A run can be summed up by its path: its number is that of its name, 0 where it has none."""
    assert load_summary(write_run(tmp_path, number=3)).number == 3
    assert load_summary(write_run(tmp_path, name="before my change.json")).number == 0
    with pytest.raises(UnreadableRunError, match=r"gone\.json: No such file or directory"):
        load_summary(tmp_path / "gone.json")
