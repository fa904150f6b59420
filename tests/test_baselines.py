from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from perf.errors import SaveError, UnreadableRunError
from perf.record.baselines import FILE, Promotion, promote, promotions

from .test_store import files_of_at_most, unprivileged

FIRST = Promotion(
    profile="prod",
    run="0007_prod_20261124T120113_b22cb51d4ac5.json",
    reason='release 1.2: <b>"fast"</b>\n| and | é',
    promoted="2026-11-24T12:30:00+00:00",
    verdict="passed",
    commit="b22cb51d4ac5",
    forced=False,
)
SECOND = Promotion(
    profile="dev", run="0009_dev_x.json", reason="known", promoted="later", verdict="failed", commit=None, forced=True
)
REPOSITORY = Path(__file__).parents[1]


def test_every_promotion_is_kept_in_order(tmp_path: Path) -> None:
    """Promotions come back whole and in order, none replaces another, and the file tells its format."""
    assert promotions(tmp_path) == []

    for promotion in (FIRST, SECOND, FIRST):
        promote(tmp_path, promotion)

    assert promotions(tmp_path) == [FIRST, SECOND, FIRST]
    assert msgspec.json.decode((tmp_path / FILE).read_bytes())["format"] == 1


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    """Asking for baselines where there are none makes no folder."""
    promotions(tmp_path)

    assert list(tmp_path.iterdir()) == []


BAD = {
    "empty": (b"", "not the list of baselines .*; restore it"),
    "half": (b'{"format":1,', "not the list of baselines .*; restore it"),
    "not UTF-8": (b'{"format":1,"promotions":[{"run":"\xff"}]}', "not the list of baselines .*; restore it"),
    "list": (b"[]", "not the list of baselines .*; restore it"),
    "null": (b"null", "not the list of baselines .*; restore it"),
    "bottomless": (b"[" * 200_000, "not the list of baselines .*; restore it"),
    "without a format": (b'{"promotions":[]}', "not the list of baselines .*; restore it"),
    "half a promotion": (b'{"format":1,"promotions":[{"profile":"dev"}]}', "not the list of baselines .*; restore it"),
    "another format": (b'{"format":2}', "format 2, and this suite reads format 1: update the suite"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_damaged_list_is_never_overwritten(tmp_path: Path, content: bytes, said: str) -> None:
    """What cannot be read is an error of one line that names the file, also on promoting, and stays as it was."""
    promote(tmp_path, FIRST)
    (tmp_path / FILE).write_bytes(content)

    for attempt in (lambda: promotions(tmp_path), lambda: promote(tmp_path, SECOND)):
        with pytest.raises(UnreadableRunError, match=said) as caught:
            attempt()
        assert str(caught.value).startswith(f"{tmp_path / FILE}: ")
        assert "\n" not in str(caught.value)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    """When the disk takes only part of the list, the old one stays, no litter does, and the error says what to do."""
    promote(tmp_path, FIRST)

    with files_of_at_most(100), pytest.raises(SaveError, match=r"baseline was not kept in .*; free space"):
        promote(tmp_path, SECOND)

    assert promotions(tmp_path) == [FIRST]
    assert not list((tmp_path / FILE).parent.glob("*.part"))


def test_a_folder_that_is_read_only_is_named() -> None:
    """A promotion that may not be written, or a list that may not be read, is an error that names it."""
    with TemporaryDirectory() as name:
        root = Path(name)
        promote(root, FIRST)
        root.chmod(0o755)
        (root / FILE).chmod(0)
        with unprivileged():
            with pytest.raises(UnreadableRunError, match="Permission denied; make it readable"):
                promotions(root)
            with pytest.raises(SaveError, match="make it writable"):
                promote(root / "new", FIRST)


PROMOTER = """
import sys
from pathlib import Path
from perf.record.baselines import Promotion, promote
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    promote(Path(sys.argv[1]), Promotion(
        profile="dev", run=f"{sys.argv[2]}-{number}", reason="", promoted="", verdict="", commit=None, forced=False
    ))
"""


def test_promotions_at_once_are_all_kept(tmp_path: Path) -> None:
    """Four processes that promote five runs each at the same time leave twenty promotions, each one's in order."""
    promoters = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTER, str(tmp_path), str(one)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        for one in range(4)
    ]
    for promoter in promoters:
        assert promoter.stdout
        assert promoter.stdout.readline() == b"ready\n"

    for promoter in promoters:  # all are waiting: let them go together
        assert promoter.stdin
        promoter.stdin.write(b"go\n")
        promoter.stdin.flush()
    for promoter in promoters:
        promoter.communicate(timeout=60)

    runs = [promotion.run for promotion in promotions(tmp_path)]
    assert len(runs) == 20
    for one in range(4):
        assert [run for run in runs if run.startswith(f"{one}-")] == [f"{one}-{number}" for number in range(5)]
