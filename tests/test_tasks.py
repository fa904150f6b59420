"""The tasks, as a user runs them: `invoke` in a folder with saved runs, a process each."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from perf.record import baselines, store

from .saved_runs import write_run

REPOSITORY = Path(__file__).parents[1]
LIMITS = """
[defaults.limits.cache]
cache_get_ms = 5
[defaults.measure]
rounds = 25
seconds_per_benchmark = 0.25
concurrency = [1, 5]
operations_per_step = 40
memory_operations = 50
memory_seconds = 2
processes = 2
stress_workers = 100
stress_duration_sec = 2
[defaults.environment]
khive = "khive==0.4.0"
dependencies = "floating"
redis = "installed"
model_latency_sec = 0
[defaults.regression]
tolerance = 0.2
confidence = 0.99
"""

FAILURE = {
    "origin": {"test": "t.py::test_cache_set", "service": "cache", "category": "benchmark", "operation": "cache_set"},
    "kind": "failed",
    "reason": "AssertionError: no",
}


class Place:
    """A folder with settings and the tasks, as a user's checkout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / store.FOLDER
        shutil.copy(REPOSITORY / "tasks.py", path)
        (path / "thresholds.toml").write_text(LIMITS)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERF_", "GITHUB_"))}
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.path,
            env=environment | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def history(self, runs: int, *, start: int = 1, factor: float = 1.0, **parts: Any) -> None:  # noqa: ANN401
        """Save runs whose median differs by about 1 % from one to the next, `factor` times the usual."""
        noise = random.Random(start)
        for number in range(start, start + runs):
            get = 0.001 * factor * (1 + noise.gauss(0, 0.01))
            times = {"cache_get[1KiB]": [get] * 30, "cache_miss": [0.002 * (1 + noise.gauss(0, 0.01))] * 30}
            write_run(self.runs, number=number, **{"times": times, **parts})

    def promote(self, spec: str = "latest") -> None:
        done = self.run("baseline", "--promote", spec, "--reason", "it is good")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("factor", "word", "code"), [(1.0, "passed", 0), (1.5, "failed", 1), (0.6, "passed", 0), (1.19, "inconclusive", 3)]
)
def test_compare_says_one_word(place: Place, factor: float, word: str, code: int) -> None:
    """As fast, half as long again, faster, and too near the tolerance to tell: word and exit code."""
    place.history(10)
    place.history(1, start=11, factor=factor)

    done = place.run("compare")

    assert (last_line(done), done.returncode) == (f"verdict: {word}", code)


def test_compare_prints_limits_first_and_one_sentence_last(place: Place) -> None:
    """The order people know: limits, changes with their legend, each service, the sentence, the word."""
    place.history(10)
    place.history(1, start=11, factor=1.5)

    lines = place.run("compare").stdout

    order = [
        lines.index(part) for part in ("Limits of profile dev", "Changes\n", "sees: the smallest", "geometric mean")
    ]
    assert order == sorted(order)
    assert "1 operation regressed, worst cache cache_get[1KiB] (1." in lines.splitlines()[-3]


def test_a_run_can_be_called_in_every_way(place: Place) -> None:
    """Number, name, commit, path, glob, latest, previous and baseline each name their runs."""
    place.history(6, commit="aaaaaaaaaaaa")
    place.history(3, start=7, commit="bbbbbbbbbbbb", factor=2.0)
    place.promote("6")
    path = place.runs / "0006_dev_20261124T120113_aaaaaaaaaaaa.json"

    said = {
        spec: place.run("compare", "--baseline", spec, "--current", "bbbbbbb").stdout.splitlines()[:2]
        for spec in ("6", "0006_dev", path.stem + ".json", str(path), "baseline", "aaaaaaa", "000[1-6]_*")
    }

    assert all("0006_dev_20261124T120113_aaaaaaaaaaaa.json" in lines[0] for lines in list(said.values())[:5]), said
    assert all("… (6 in all)" in lines[0] for lines in list(said.values())[5:]), said
    assert all("0007_dev" in lines[1] and "0009_dev" in lines[1] for lines in said.values()), said
    assert "0008_dev" in place.run("compare", "--baseline", "previous").stdout.splitlines()[0]


def test_two_sets_of_runs_are_compared_as_sets(place: Place) -> None:
    """With several runs on either side the run is the replicate, and n says so."""
    place.history(6, commit="aaaaaaaaaaaa")
    place.history(5, start=7, commit="bbbbbbbbbbbb", factor=1.4)

    done = place.run("compare", "--baseline", "*_aaaaaaaaaaaa.json", "--current", "*_bbbbbbbbbbbb.json")

    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if "cache_get[1KiB]" in line and "median" in line)
    assert row.split()[-3:] == ["6,", "5", "regressed"]


def test_formats_and_output(place: Place) -> None:
    """JSON and Markdown hold the same verdict, and `--output` writes the file and says so."""
    place.history(8)

    report = json.loads(place.run("compare", "--format", "json").stdout)
    markdown = place.run("compare", "--format", "markdown").stdout
    written = place.run("compare", "--format", "json", "--output", "out/report.json")

    assert report["verdict"] == "passed"
    assert report["regression_detected"] is False
    assert markdown.startswith("## khive performance: passed\n")
    assert json.loads((place.path / "out" / "report.json").read_text())["changes"] == report["changes"]
    assert written.stdout.splitlines() == ["Wrote out/report.json", "verdict: passed"]


def test_only_changed_leaves_out_what_did_not(place: Place) -> None:
    """With `--only-changed` the operation that regressed is listed and the one that did not is not."""
    place.history(8)
    place.history(1, start=9, factor=1.6)

    lines = place.run("compare", "--only-changed").stdout

    assert "cache_get[1KiB]" in lines
    assert "cache_miss" not in lines


def test_another_metric_can_be_asked_for(place: Place) -> None:
    """`--metric p95` compares the saved p95; one that no run holds is a mistake, and the known ones are named."""
    place.history(8)

    assert " p95 " in place.run("compare", "--metric", "p95").stdout
    nothing = place.run("compare", "--metric", "p59")
    assert (nothing.returncode, "--metric p59: no run holds it; known are" in nothing.stderr) == (2, True)


def test_load_and_memory_have_their_direction(place: Place) -> None:
    """Less throughput is worse, and more memory is."""
    usual: dict[str, Any] = {
        "loads": {("cache_at_once", 5): {"throughput": 1000.0}},
        "memories": {"cache_memory": {"memory_per_operation": 1e6}},
    }
    worse: dict[str, Any] = {
        "loads": {("cache_at_once", 5): {"throughput": 500.0}},
        "memories": {"cache_memory": {"memory_per_operation": 2e6}},
    }
    place.history(6, **usual)
    place.history(1, start=7, **worse)

    lines = place.run("compare").stdout.splitlines()

    rows = [line for line in lines if line.startswith("✗")]
    assert [("throughput" in row, "memory_per_operation" in row, "regressed" in row) for row in rows] == [
        (True, False, True),
        (False, True, True),
    ]


def test_differing_dependencies_are_named(place: Place) -> None:
    """A version that differs between the two runs is named as a likely cause."""
    place.history(6, packages={"lionagi": "0.15.9"})
    place.history(1, start=7, factor=1.5)

    assert "- lionagi 0.15.9 → 0.15.11" in place.run("compare").stdout


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"machine": {"cpu": "Other"}}, "another machine: 2 × AMD EPYC against 2 × Other"),
        ({"settings": {"measure.rounds": 50}}, "another settings: measure.rounds 25 against measure.rounds 50"),
        ({"untimed": "Tests ran in parallel under xdist"}, "Tests ran in parallel under xdist, so its figures are no"),
    ],
)
def test_what_cannot_be_compared_is_never_a_pass(place: Place, parts: dict[str, Any], said: str) -> None:
    """Another machine, other settings, no timings: not comparable, exit code 3, with the reason."""
    place.history(8)
    place.history(1, start=9, **parts)

    done = place.run("compare", "--baseline", "8")

    assert (last_line(done), done.returncode) == ("verdict: inconclusive", 3)
    assert said in done.stdout
    assert "not comparable" in done.stdout


def test_another_profile_is_not_comparable(place: Place) -> None:
    """A run of dev says nothing about one of prod."""
    place.history(6)
    place.history(1, start=7, profile="prod")

    done = place.run("compare", "--baseline", str(place.runs / "0006_dev_20261124T120113_b22cb51d4ac5.json"))

    assert done.returncode == 3
    assert "another profile: dev against prod" in done.stdout


def test_deleted_renamed_and_added_benchmarks(place: Place) -> None:
    """What is gone is missing, with the name it may have now; what came is new; neither is a pass."""
    place.history(6)
    write_run(place.runs, number=7, times={"cache_gets[1KiB]": [0.001] * 30, "cache_set": [0.01] * 30})

    done = place.run("compare")

    assert done.returncode == 3
    assert "missing, measured before and no longer; renamed to cache_gets[1KiB]?: cache_get[1KiB]" in done.stdout
    assert "2 operations missing" in done.stdout
    assert sum(line.startswith("·   cache ") for line in done.stdout.splitlines()) == 2


def test_units_that_differ_are_not_compared(place: Place) -> None:
    """A metric whose unit another version changed is not comparable."""
    place.history(6, loads={("cache_at_once", 5): {"throughput": 1000.0}})
    path = write_run(place.runs, number=7, loads={("cache_at_once", 5): {"throughput": 1000.0}})
    path.write_text(path.read_text().replace('"unit":"1/s"', '"unit":"1/min"'))

    done = place.run("compare")

    assert "its units differ: 1/min (higher is better) and 1/s (higher is better)" in done.stdout
    assert done.returncode == 3


BAD_FILES = {
    "truncated": (b'{"benchmarks": [', "it is cut short or damaged: Input data was truncated"),
    "empty": (b"", "the file is empty; delete it and measure again"),
    "not UTF-8": (b'{"khive_performance": {"format": 1}, "\xff\xfe": 2}', "it is not UTF-8 text"),
    "foreign": (b'{"machine_info": {}, "benchmarks": []}', "missing required field `khive_performance`"),
    "a list": (b"[1, 2]", "Expected `object`, got `array`"),
    "another format": (b'{"khive_performance": {"format": 99}}', "format 99, and this suite reads format 1: update"),
    "nested without end": (b"[" * 100_000, "not a saved run of this suite (Expected `object`, got `array`)"),
}


@pytest.mark.parametrize("bad", BAD_FILES)
@pytest.mark.parametrize("task", ["compare", "release-gate"])
def test_a_latest_run_that_cannot_be_read_stops_both(place: Place, bad: str, task: str) -> None:
    """A damaged newest file is named in one line with exit code 2; no older run stands in for it."""
    place.history(6)
    content, said = BAD_FILES[bad]
    (place.runs / "0007_dev_20261124T130000_bbbbbbbbbbbb.json").write_bytes(content)

    done = place.run(task, *(["--profile", "dev"] if task == "release-gate" else []))

    assert done.returncode == 2
    assert said in done.stderr
    assert "0007_dev_20261124T130000_bbbbbbbbbbbb.json: " in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("0.0", "has a round of 0 s"),
        ("-0.001", "has a round of -0.001 s"),
        ("NaN", "it holds NaN or Infinity"),
        ("Infinity", "it holds NaN or Infinity"),
        ("1e999", "Number out of range"),
        ("null", "Expected `float`, got `null`"),
    ],
)
def test_times_that_are_none_are_refused(place: Place, time: str, said: str) -> None:
    """Zero, negative, NaN and infinite times: the file is named, what is wrong with it, exit code 2."""
    place.history(6)
    path = write_run(place.runs, number=7, times={"cache_get[1KiB]": [0.123456, 0.002]})
    path.write_text(path.read_text().replace("0.123456,0.002", f"{time},0.002"))

    done = place.run("compare")

    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_huge_file_is_not_read(place: Place) -> None:
    """A file far larger than any run is refused without reading it."""
    place.history(6)
    with (place.runs / "0007_dev_20261124T130000_bbbbbbbbbbbb.json").open("wb") as file:
        file.truncate(3 * 2**30)

    done = place.run("compare")

    assert (done.returncode, "larger than 256 MiB" in done.stderr) == (2, True)


def test_an_older_damaged_run_is_a_note(place: Place) -> None:
    """A damaged file that nobody asked for does not stop a comparison; it is noted, and the gate stops."""
    place.history(8)
    (place.runs / "0003_dev_20261124T120113_b22cb51d4ac5.json").write_text("{")

    done = place.run("compare")

    assert (done.returncode, last_line(done)) == (0, "verdict: passed")
    assert "- 0003_dev_20261124T120113_b22cb51d4ac5.json: not a saved run" in done.stdout
    assert place.run("release-gate", "--profile", "dev").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare"], "no saved run in"),
        (["release-gate"], "no saved run of profile prod in"),
        (["baseline", "--promote", "latest", "--reason", "x"], "no saved run in"),
    ],
)
def test_no_history_is_inconclusive(place: Place, arguments: list[str], said: str) -> None:
    """Without a saved run there is one line that says what to do, and exit code 3."""
    done = place.run(*arguments)

    assert (done.returncode, said in done.stderr, "measure first" in done.stderr) == (3, True, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "--baseline", "99"], "is called '99'; the newest are 0003_dev"),
        (["compare", "--baseline", "baseline"], "no baseline of profile dev: promote a run of it"),
        (["compare", "--format", "yaml"], "--format yaml: unknown; one of table, markdown, json"),
        (["compare", "--tolerance", "much"], "--tolerance much: must be a share"),
        (["baseline", "--promote", "latest"], '--promote needs --reason "…"'),
        (["compare", "--profile", "devv"], "profile 'devv': unknown; did you mean dev?"),
        (["release-gate", "--profile", "pord"], "profile 'pord': unknown; did you mean prod?"),
        (["history", "--profile", "pord"], "profile 'pord': unknown; did you mean prod?"),
        (
            ["compare", "--baseline", "latest"],
            "0003_dev_20261124T120113_b22cb51d4ac5.json would be compared with itself",
        ),
    ],
)
def test_mistakes_get_one_line(place: Place, arguments: list[str], said: str) -> None:
    """A name that is none, a format, a tolerance, a missing reason: what, where, what to do next."""
    place.history(3)

    done = place.run(*arguments)

    assert said in done.stderr
    assert done.returncode == (3 if "no baseline" in said or "with itself" in said else 2)
    assert done.stderr.count("\n") == 1, done.stderr


def gate(place: Place, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return place.run("release-gate", "--profile", "dev", *arguments, **variables)


def report_of(place: Place) -> dict[str, object]:
    return json.loads((place.path / "release_performance.json").read_text())  # type: ignore[no-any-return]


def test_the_gate_passes_on_evidence(place: Place) -> None:
    """Limits held, nothing missing, nothing slower than a baseline with a history: passed, in every format."""
    place.history(8)
    place.promote()
    place.history(2, start=9, commit="cccccccccccc")

    done = gate(place)

    assert (done.returncode, last_line(done)) == (0, "verdict: passed"), done.stdout
    assert report_of(place)["verdict"] == "passed"
    assert "## khive performance: passed" in (place.path / "release_performance.md").read_text()
    root = ET.parse(place.path / "release_performance.xml").getroot()  # noqa: S314 - our own
    assert root[0].attrib["failures"] == root[0].attrib["errors"] == "0"


def test_the_gate_fails_on_a_regression(place: Place) -> None:
    """A slower build fails the gate, and the reports name what is slower."""
    place.history(8)
    place.promote()
    place.history(2, start=9, commit="cccccccccccc", factor=1.6)

    done = gate(place)

    assert (done.returncode, report_of(place)["regression_detected"]) == (1, True)
    root = ET.parse(place.path / "release_performance.xml").getroot()  # noqa: S314
    assert [case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None] == [
        "cache_get[1KiB] median",
        "verdict",
    ]


def test_the_gate_fails_on_a_broken_limit(place: Place) -> None:
    """A limit that the current run breaks fails the gate, whatever the change."""
    place.history(8)
    place.promote()
    place.history(1, start=9, commit="cccccccccccc")

    done = gate(place, PERF_CACHE_GET_MS="0.5")

    assert (done.returncode, "1 limit broken" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no baseline", "profile dev has no baseline"),
        ("nothing new", "nothing was measured since the baseline was"),
        ("missing", "1 operation missing"),
        ("other machine", "2 operations not comparable"),
        ("too few", "2 operations inconclusive"),
        ("limit unmeasured", "1 limit missing a measurement"),
    ],
)
def test_the_gate_cannot_pass_without_measuring(place: Place, case: str, said: str) -> None:
    """Nothing promoted, nothing new, something missing, another machine, too few runs: inconclusive, exit code 3."""
    place.history(2 if case == "too few" else 8)
    if case != "no baseline":
        place.promote()
    if case == "missing":
        write_run(place.runs, number=9, commit="cccccccccccc", times={"cache_get[1KiB]": [0.001] * 30})
    elif case == "other machine":
        place.history(1, start=9, commit="cccccccccccc", machine={"cpus": 64})
    elif case == "limit unmeasured":
        (place.path / "thresholds.toml").write_text(
            LIMITS.replace("cache_get_ms = 5", "cache_get_ms = 5\ncache_set_ms = 5")
        )
        place.history(1, start=9, commit="cccccccccccc")
    elif case != "nothing new":
        place.history(1, start=9, commit="cccccccccccc")

    done = gate(place)

    assert (done.returncode, last_line(done), said in done.stdout) == (3, "verdict: inconclusive", True), done.stdout
    assert report_of(place)["verdict"] == "inconclusive"


def test_a_damaged_baseline_file_stops_the_gate(place: Place) -> None:
    """When nobody knows what was promoted, or the promoted run is gone, nothing passes."""
    place.history(8)
    place.promote()
    place.history(1, start=9, commit="cccccccccccc")
    (place.runs / "0008_dev_20261124T120113_b22cb51d4ac5.json").unlink()
    gone = gate(place)
    (place.path / baselines.FILE).write_text("{")
    damaged = gate(place)

    assert (gone.returncode, "the baseline of profile dev, is gone" in gone.stderr) == (2, True)
    assert (damaged.returncode, "baselines.json: not the list of baselines" in damaged.stderr) == (2, True)


def test_reports_of_before_do_not_outlive_a_gate_that_stops(place: Place) -> None:
    """A gate that could not judge leaves reports that say so, in the place of those of an earlier pass."""
    place.history(8)
    place.promote()
    place.history(1, start=9, commit="cccccccccccc")
    gate(place)
    (place.runs / "0010_dev_20261124T130000_dddddddddddd.json").write_text("{")

    done = gate(place)

    report = json.loads((place.path / "release_performance.json").read_text())
    assert done.returncode == 2
    assert (report["verdict"], report["regression_detected"]) == ("inconclusive", False)
    assert "0010_dev_20261124T130000_dddddddddddd.json" in report["sentence"]
    assert "cut short" in (place.path / "release_performance.md").read_text()
    assert '<error message="Nothing was judged' in (place.path / "release_performance.xml").read_text()
    assert done.stdout.rstrip().endswith("verdict: inconclusive")


def test_more_runs_of_a_build_add_to_its_evidence(place: Place) -> None:
    """The gate judges all runs of the newest build since the baseline: a rerun adds, it replaces nothing."""
    place.history(8)
    place.promote()
    place.history(3, start=9, commit="cccccccccccc", factor=1.6)
    place.history(1, start=12, commit="cccccccccccc")

    done = gate(place)

    current = report_of(place)["current"]
    assert isinstance(current, list)
    assert len(current) == 4
    assert done.returncode == 1


def test_a_rerun_replaces_no_broken_limit_and_no_failed_test(place: Place) -> None:
    """A limit broken, or a test failed, in one run of a build stays so however well the next one goes."""
    place.history(8)
    place.promote()
    slow = [0.001] * 20 + [0.006] * 10
    write_run(place.runs, number=9, commit="cccccccccccc", times={"cache_get[1KiB]": slow, "cache_miss": [0.002] * 30})
    place.history(1, start=10, commit="cccccccccccc")
    broken = gate(place)
    place.history(1, start=11, commit="dddddddddddd", failures=[FAILURE])
    place.history(1, start=12, commit="dddddddddddd")
    failed = gate(place)

    assert (broken.returncode, "1 limit broken" in broken.stdout) == (1, True), broken.stdout
    assert (failed.returncode, "1 test failed" in failed.stdout) == (1, True), failed.stdout
    assert "- 0011_dev_20261124T120113_dddddddddddd.json: cache_set failed: AssertionError: no" in failed.stdout


def test_a_part_of_a_build_is_completed_by_another_run(place: Place) -> None:
    """What one run of the build did not measure another may have: together they are whole."""
    place.history(8)
    place.promote()
    for number, name in ((9, "cache_get[1KiB]"), (10, "cache_miss")):
        seconds = 0.001 if number == 9 else 0.002
        write_run(place.runs, number=number, commit="cccccccccccc", times={name: [seconds] * 30})

    assert gate(place).returncode == 0


def test_the_summary_of_a_ci_step_is_added_to(place: Place) -> None:
    """With the CI's variable set the Markdown is added to its file, after what others wrote."""
    place.history(8)
    place.promote()
    place.history(1, start=9, commit="cccccccccccc")
    summary = place.path / "summary.md"
    summary.write_text("before\n")

    gate(place, GITHUB_STEP_SUMMARY=str(summary))

    assert summary.read_text().startswith("before\n## khive performance: ")


def test_a_failed_run_is_no_baseline(place: Place) -> None:
    """A run that did not pass is promoted only with --force and a reason, and both are kept."""
    place.history(1, verdict="failed")

    refused = place.run("baseline", "--promote", "1", "--reason", "hm")
    unreasoned = place.run("baseline", "--promote", "1", "--force")
    forced = place.run("baseline", "--promote", "1", "--force", "--reason", "known and accepted")

    assert [one.returncode for one in (refused, unreasoned, forced)] == [2, 2, 0]
    assert "its verdict was failed; a baseline must have passed, or add --force" in refused.stderr
    listed = place.run("baseline", "--list").stdout
    assert "known and accepted" in listed
    assert "forced" in listed


def test_saving_a_run_changes_no_baseline(place: Place) -> None:
    """The promoted run stays the baseline whatever is saved after it; every promotion stays listed."""
    place.history(2)
    place.promote("1")
    before = (place.path / baselines.FILE).read_bytes()
    place.history(1, start=3)

    assert (place.path / baselines.FILE).read_bytes() == before
    assert "0001_dev" in place.run("baseline").stdout
    place.promote("3")
    assert [name in place.run("baseline", "--list").stdout for name in ("0001_dev", "0003_dev")] == [True, True]
    assert "0001_dev" not in place.run("baseline").stdout


def test_history_draws_steps_with_their_commits(place: Place) -> None:
    """A step in an operation's history is drawn and placed between two commits."""
    place.history(8, commit="aaaaaaaaaaaa")
    place.history(8, start=9, commit="bbbbbbbbbbbb", factor=1.5)

    lines = place.run("history", "--operation", "cache_get*").stdout

    assert "▁" in lines
    assert "█" in lines
    assert "1.50 times worse after run 8 (khive 0.4.0, suite aaaaaaaaaaaa), up to run 9 (khive" in lines.replace(
        "1.49", "1.50"
    ).replace("1.51", "1.50")
    assert "cache_miss" not in lines


def test_history_lists_runs_and_what_cannot_be_read(place: Place) -> None:
    """Runs are listed with their verdicts, the baseline marked; a damaged file is named, not passed over."""
    place.history(3)
    place.promote("2")
    (place.runs / "0004_dev_20261124T130000_dddddddddddd.json").write_text("{")

    done = place.run("history")

    assert done.returncode == 0
    assert "*   2 " in done.stdout
    assert "not read: 0004_dev" in done.stdout


NASTY = "cache_<b>x</b>|`rm`\\n../../[a](http://b)"


def test_names_cannot_break_a_report(place: Place) -> None:
    """HTML, Markdown, line breaks and path separators in a name stay text in every format, and no file is theirs."""
    for number in range(1, 8):
        write_run(place.runs, number=number, times={NASTY.replace("\\n", "\n"): [0.001 + number * 1e-7] * 30})

    markdown = place.run("compare", "--format", "markdown").stdout
    table = place.run("compare").stdout
    report = json.loads(place.run("compare", "--format", "json").stdout)

    assert "<b>" not in markdown
    assert "&lt;b&gt;" in markdown
    assert r"\[a\](http://b)" in markdown
    assert all(line.count("|") - line.count(r"\|") in {0, 12, 4} for line in markdown.splitlines()), markdown
    assert any("<b>x</b>|`rm` ../../[a](http://b)" in line and "passed" in line for line in table.splitlines())
    assert report["changes"][0]["operation"] == NASTY.replace("\\n", "\n")


def test_a_read_only_folder_can_be_compared(place: Place) -> None:
    """Reading needs no writing: where the index cannot be kept, the comparison is the same."""
    place.history(8)
    first = place.run("compare").stdout
    (place.runs / ".index").unlink()
    (place.runs / ".index").mkdir()

    assert place.run("compare").stdout == first


def test_an_output_that_cannot_be_written_is_said(place: Place) -> None:
    """Where a report cannot be written: one line, exit code 2, nothing half-written."""
    place.history(8)
    (place.path / "taken").write_text("a file")

    done = place.run("compare", "--output", "taken/report.md")
    full = gate(place, "--output", "/dev/full")

    assert (done.returncode, "taken/report.md: not written: " in done.stderr) == (2, True)
    assert full.returncode == 2


def test_the_tasks_need_no_khive_and_start_lightly() -> None:
    """Listing the tasks loads neither numpy nor pytest, and no task loads khive."""
    script = (
        "import sys; sys.argv = ['invoke', '--list']; from invoke import program, main\n"
        "try: main.program.run()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'pytest', 'msgspec', 'khive', 'apprise'}\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )

    assert "release-gate" in done.stdout
    assert done.stdout.splitlines()[-1] == "", done.stdout + done.stderr


def test_a_baseline_is_of_the_profile_that_is_named(place: Place) -> None:
    """A run of another profile than the one that is named is not promoted, and only its own promotions are listed."""
    place.history(8)
    place.promote()

    wrong = place.run("baseline", "--promote", "8", "--profile", "prod", "--reason", "x")

    assert (wrong.returncode, "is a run of profile dev, not of prod" in wrong.stderr) == (2, True)
    assert "0008_dev" not in place.run("baseline", "--profile", "prod").stdout
    assert place.run("baseline", "--profile", "qa").returncode == 2


@pytest.mark.parametrize("last", ["x", "0", "-3"])
def test_how_many_runs_to_list_must_be_a_number(place: Place, last: str) -> None:
    """`--last` takes a number of runs; anything else is one clear line."""
    place.history(1)

    done = place.run("history", f"--last={last}")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "must be a number of runs" in done.stderr


def test_few_rounds_are_no_evidence(place: Place) -> None:
    """An operation that the newest run timed once has no verdict, though that once was as fast as ever."""
    place.history(8)
    run = min(place.runs.glob("0008_*"))
    document = json.loads(run.read_text())
    for benchmark in document["benchmarks"]:
        benchmark["stats"]["data"] = benchmark["stats"]["data"][:1]
    run.write_text(json.dumps(document))

    done = place.run("compare")

    assert done.returncode == 3
    assert "of the 5 rounds that are needed" in done.stdout


def test_only_what_changed_goes_into_the_json_too(place: Place) -> None:
    """`--only-changed` leaves out of every format what passed."""
    place.history(8)

    report = json.loads(place.run("compare", "--format", "json", "--only-changed").stdout)

    assert report["changes"] == []


def test_a_report_does_not_replace_a_device_or_a_link(place: Place) -> None:
    """What is written to a pipe or a link goes there, and the pipe or the link stays."""
    place.history(8)
    target, link = place.path / "target.md", place.path / "link.md"
    target.write_text("before")
    link.symlink_to(target)

    place.run("compare", "--output", "link.md")

    assert link.is_symlink()
    assert target.read_text() != "before"
    assert place.run("compare", "--output", ".").returncode == 2
