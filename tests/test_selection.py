from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from perf.errors import NoHistoryError, PerfError, UnreadableRunError
from perf.record.baselines import Promotion
from perf.record.index import summaries
from perf.record.selection import select

from .saved_runs import document, write_run

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "0001_dev_20261124T120113_aaaaaaaa1111.json"
KHIVE = "51b0c2ad1234"
PROMOTED = Promotion(
    profile="dev", run=FIRST, reason="a release", promoted="2026-11-24", verdict="passed", commit=None, forced=False
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five runs: dev 1 and 2 of one commit, prod 3 and 4 (of a khive from a commit), dev 5, modified."""
    folder = tmp_path / "runs"
    write_run(folder, number=1, commit="aaaaaaaa1111")
    write_run(folder, number=2, commit="aaaaaaaa1111", created="2026-11-25T12:00:00+00:00")
    write_run(folder, number=3, commit="bbbbbbbb2222", profile="prod")
    write_run(folder, number=4, commit="aaaaaaaa1111", profile="prod", khive={"commit": KHIVE})
    write_run(folder, number=5, commit="123456789012 (modified)")
    return folder


def numbers(folder: Path, spec: str, profile: str | None = None, *, promoted: tuple[Promotion, ...] = ()) -> list[int]:
    found = select(spec, summaries(folder), promoted, folder=folder, profile=profile)
    return [run.number for run in found]


def refusal(folder: Path, spec: str, profile: str | None = None, *, promoted: tuple[Promotion, ...] = ()) -> PerfError:
    with pytest.raises(PerfError) as caught:
        numbers(folder, spec, profile, promoted=promoted)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("2", [2]),
        ("0002", [2]),
        (FIRST, [1]),
        (FIRST.removesuffix(".json"), [1]),
        ("0004_prod", [4]),
        ("0004_", [4]),
        ("aaaaaaaa", [1, 2, 4]),
        ("AAAAAA", [1, 2, 4]),
        ("aaaaaaaa11112222333344445555666677778888", [1, 2, 4]),
        ("123456", [5]),
        ("51b0c2a", [4]),
        ("*_prod_*", [3, 4]),
        ("000[12]*.json", [1, 2]),
        ("latest", [5]),
        ("previous", [2]),
        ("baseline", [1]),
    ],
)
def test_a_run_is_found_by_what_it_is_called(folder: Path, spec: str, found: list[int]) -> None:
    """Number, name, its beginning, commit, glob and the three words each lead to the runs they name, oldest first."""
    assert numbers(folder, spec, promoted=(PROMOTED,)) == found


def test_a_file_anywhere_is_found_by_its_path(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path and a glob of paths lead to files outside the folder, in the order they were made."""
    write_run(tmp_path / "else", number=9, created="2026-01-01T00:00:00+00:00")
    write_run(tmp_path / "else", number=8)
    write_run(tmp_path / "else", name="before.json")
    monkeypatch.chdir(tmp_path / "else")

    assert numbers(folder, str(next((tmp_path / "else").glob("0009*")))) == [9]
    assert numbers(folder, f"{tmp_path}/else/*") == [9, 0, 8]
    assert numbers(folder, "before.json") == [0]
    assert numbers(folder, "./before.json") == [0]


@pytest.mark.parametrize(
    ("spec", "profile", "found"),
    [
        ("latest", "dev", [5]),
        ("latest", "prod", [4]),
        ("previous", "prod", [3]),
        ("aaaaaaaa", "dev", [1, 2]),
        ("3", "dev", [3]),
    ],
)
def test_words_and_commits_are_of_the_profile(folder: Path, spec: str, profile: str, found: list[int]) -> None:
    """With a profile, `latest`, `previous` and a commit are of it; a run named by its number is that run."""
    assert numbers(folder, spec, profile) == found


def test_previous_is_of_the_latest_runs_profile(folder: Path) -> None:
    """Without a profile, `previous` and `baseline` are of the newest run's, not simply the file before."""
    write_run(folder, number=6, profile="prod")

    assert numbers(folder, "previous") == [4]
    assert "no baseline of profile prod" in str(refusal(folder, "baseline", promoted=(PROMOTED,)))


def test_the_last_promotion_counts(folder: Path) -> None:
    """The baseline is the run that was promoted last for its profile."""
    second = numbers(folder, "2") and next(folder.glob("0002*")).name
    other = msgspec.structs.replace(PROMOTED, profile="prod", run="0003")

    assert numbers(folder, "baseline", promoted=(PROMOTED, msgspec.structs.replace(PROMOTED, run=second), other)) == [2]


@pytest.mark.parametrize("spec", ["latest", "previous", "baseline", "7", "aaaaaaaa", "*_dev_*", "0007_dev"])
def test_without_any_run_there_is_no_history(tmp_path: Path, spec: str) -> None:
    """Whatever is asked for, a folder without runs ends with exit code 3 and says how to get one."""
    error = refusal(tmp_path, spec)

    assert isinstance(error, NoHistoryError)
    assert error.exit_code == 3
    assert "measure first, `nox -s perf`" in str(error)
    assert str(tmp_path) in str(error)


@pytest.mark.parametrize(
    ("spec", "profile", "said"),
    [
        ("latest", "staging", "no saved run of profile staging in "),
        ("previous", "staging", "no saved run of profile staging in "),
        ("baseline", None, "no baseline of profile dev: promote a run of it"),
        ("baseline", "prod", "no baseline of profile prod: promote a run of it"),
    ],
)
def test_what_a_profile_has_not_yet_is_no_history(folder: Path, spec: str, profile: str, said: str) -> None:
    """A profile without a run or a baseline ends with exit code 3 and names the profile and what to do."""
    error = refusal(folder, spec, profile)

    assert isinstance(error, NoHistoryError)
    assert said in str(error)


def test_a_first_run_has_no_previous_one(tmp_path: Path) -> None:
    """One run alone has nothing before it: exit code 3, and measuring again is the way on."""
    write_run(tmp_path)

    error = refusal(tmp_path, "previous")

    assert isinstance(error, NoHistoryError)
    assert "no earlier run of profile dev" in str(error)
    assert "measure again" in str(error)


@pytest.mark.parametrize(
    "spec", ["6", "12", "0006_dev", "ffffff", "*_staging_*", "nonsense", "", "a" * 5000, "\0", "[", "0"]
)
def test_a_name_that_leads_nowhere_shows_the_newest(folder: Path, spec: str) -> None:
    """A name without a run is an error of exit code 2 that shows the three newest."""
    error = refusal(folder, spec)

    assert isinstance(error, UnreadableRunError)
    assert error.exit_code == 2
    assert "the newest are 0005_dev_" in str(error)
    assert "0003_prod_" in str(error)
    assert "0002_dev_" not in str(error)


def test_a_path_that_leads_nowhere_is_named(folder: Path) -> None:
    """A path without a file is told from a run's name."""
    assert str(refusal(folder, "runs/gone.json")) == "no file at 'runs/gone.json': give the path of a saved run"


def test_what_can_mean_several_is_refused(folder: Path) -> None:
    """The beginning of several names, or a number given twice, is not guessed at."""
    write_run(folder, number=2, commit="cccccccc3333")
    (folder / "0002_dev_20261124T120113_cccccccc3333.json").rename(folder / "0002_dev_other.json")

    for spec in ("2", "0002_dev"):
        error = refusal(folder, spec)
        assert isinstance(error, UnreadableRunError)
        assert "can mean 2 saved runs, such as 0002_dev_" in str(error)


def test_a_promoted_run_that_is_gone_is_named(folder: Path) -> None:
    """A baseline whose file is gone is exit code 2: it is not the same as never having had one."""
    (folder / FIRST).unlink()

    error = refusal(folder, "baseline", promoted=(PROMOTED,))

    assert isinstance(error, UnreadableRunError)
    assert f"{FIRST}, the baseline of profile dev, is gone" in str(error)


@pytest.mark.parametrize(
    ("name", "spec", "profile"),
    [
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "latest", None),
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "latest", "dev"),
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "baseline", None),
        ("0006_x.json", "latest", "prod"),
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "6", None),
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "0006_dev", None),
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "aaaaaaaa", None),
        ("0006_dev_20261124T120113_aaaaaaaa1111.json", "*_dev_*", None),
        ("0004_dev_20261124T120113_aaaaaaaa1111.json", "previous", "dev"),
        (FIRST, "baseline", "dev"),
    ],
)
def test_a_run_that_cannot_be_read_is_never_passed_over(
    folder: Path, name: str, spec: str, profile: str | None
) -> None:
    """Where what is asked for is, or may be, a damaged file, its reason is the answer and never an older run."""
    (folder / name).write_bytes(b"{")

    error = refusal(folder, spec, profile, promoted=(PROMOTED,))

    assert isinstance(error, UnreadableRunError)
    assert str(error).startswith(f"{folder / name}: not a saved run of this suite")


@pytest.mark.parametrize(
    ("spec", "profile", "found"),
    [("latest", "prod", [4]), ("5", None, [5]), ("bbbbbbbb", None, [3]), ("*_prod_*", None, [3, 4])],
)
def test_a_damaged_file_elsewhere_is_no_hindrance(folder: Path, spec: str, profile: str, found: list[int]) -> None:
    """A damaged file of another profile, number or commit does not stand in the way of what is asked for."""
    (folder / "0006_dev_20261124T120113_aaaaaaaa1111.json").write_bytes(b"{")

    assert numbers(folder, spec, profile) == found


def test_a_damaged_file_by_path_is_named(folder: Path, tmp_path: Path) -> None:
    """A damaged file given by its path, or matched by a glob of paths, is an error that names it."""
    bad = tmp_path / "bad.json"
    bad.write_bytes(msgspec.json.encode(document())[:-1])

    for spec in (str(bad), f"{tmp_path}/*.json"):
        assert str(refusal(folder, spec)).startswith(f"{bad}: not a saved run of this suite")
