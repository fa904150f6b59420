"""From what a user calls a run (number, name, commit, path, glob, latest, previous, baseline) to saved runs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from perf.errors import NoHistoryError, UnreadableRunError
from perf.record.index import load_summary
from perf.record.summary import RunSummary, Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.record.baselines import Promotion
    from perf.record.summary import SavedRuns

File: TypeAlias = RunSummary | Unreadable

_COMMIT = re.compile(r"[0-9a-f]{6,}")
_SHOWN = 3


def select(
    spec: str, saved: SavedRuns, promotions: Sequence[Promotion], *, folder: Path, profile: str | None = None
) -> list[RunSummary]:
    """Return the runs `spec` names, oldest first.

    It is `latest`, `previous` (the one before) or `baseline` (the promoted one), each of `profile` or, without one,
    of the newest run's; the number of a run in `folder`, its name or the beginning of it; a commit of six digits or
    more, the suite's or khive's, which names all its runs (of `profile`); a glob of names; a path, or a glob of paths.

    A run that cannot be read is never passed over for another: UnreadableRunError if `spec` names one, names none, or
    can mean several; NoHistoryError if nothing is saved or promoted that it could name.
    """
    files: list[File] = [*saved.runs, *saved.unreadable]
    files.sort(key=lambda file: (file.number or 0, file.name))
    history = _History(files=files, promotions=promotions, folder=folder, profile=profile)
    if spec == "latest":
        return [history.latest()]
    if spec == "previous":
        return [history.previous()]
    if spec == "baseline":
        return [history.baseline()]
    if found := _called(spec, files, profile):
        return [history.readable(file) for file in found]
    return _at_paths(spec) or history.nothing_called(spec)


@dataclass(frozen=True, kw_only=True, slots=True)
class _History:
    """The files of a folder in the order of their numbers, and the profile that is asked for."""

    files: Sequence[File]
    promotions: Sequence[Promotion]
    folder: Path
    profile: str | None

    def readable(self, file: File) -> RunSummary:
        if isinstance(file, Unreadable):
            raise UnreadableRunError(f"{self.folder}{os.sep}{file.reason}")
        return file

    def latest(self) -> RunSummary:
        return self._from_the_end(1, self.profile)

    def previous(self) -> RunSummary:
        return self._from_the_end(2, self.profile or self.latest().profile)

    def baseline(self) -> RunSummary:
        profile = self.profile or self.latest().profile
        names = [promotion.run for promotion in self.promotions if promotion.profile == profile]
        if not names:
            raise NoHistoryError(f"no baseline of profile {profile}: promote a run of it with `invoke baseline`")
        for file in self.files:
            if file.name == names[-1]:
                return self.readable(file)
        raise UnreadableRunError(
            f"{self.folder}: {names[-1]}, the baseline of profile {profile}, is gone: restore it or promote another run"
        )

    def _from_the_end(self, place: int, profile: str | None) -> RunSummary:
        """Return the run at `place` from the end of a profile; a file whose name tells no profile may be of any."""
        unknown = [file for file in self.files if isinstance(file, Unreadable) and file.profile is None]
        found = [file for file in self.files if profile in {None, file.profile} or file in unknown]
        if len(found) >= place:
            return self.readable(found[-place])
        what = ("earlier" if found else "saved") + " run" + (f" of profile {profile}" if profile else "")
        again = "again" if found else "first"
        raise NoHistoryError(f"no {what} in {self.folder}: measure {again}, `nox -s perf`")

    def nothing_called(self, spec: str) -> list[RunSummary]:
        if os.sep in spec:
            raise UnreadableRunError(f"no file at {spec!r}: give the path of a saved run")
        if not self.files:
            raise NoHistoryError(f"no saved run in {self.folder}: measure first, `nox -s perf`")
        newest = ", ".join(file.name for file in self.files[: -_SHOWN - 1 : -1])
        raise UnreadableRunError(f"no saved run in {self.folder} is called {spec!r}; the newest are {newest}")


def _called(spec: str, files: Sequence[File], profile: str | None) -> list[File]:
    """Return the files of the folder that `spec` names, in the first way that finds any."""
    name, number = spec.removesuffix(".json") + ".json", spec.lstrip("0") or "0"
    if found := [file for file in files if file.name == name or str(file.number) == number]:
        return _only(spec, found)
    if has_magic(spec):
        return [file for file in files if fnmatchcase(file.name, spec) or fnmatchcase(file.name, f"{spec}.json")]
    if _COMMIT.fullmatch(spec.lower()):
        return [file for file in files if profile in {None, file.profile} and _is_of(spec.lower(), file)]
    return _only(spec, [file for file in files if "_" in spec and file.name.startswith(spec)])


def _only(spec: str, found: list[File]) -> list[File]:
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:_SHOWN])
        raise UnreadableRunError(f"{spec!r} can mean {len(found)} saved runs, such as {names}: give one's whole name")
    return found


def _is_of(commit: str, file: File) -> bool:
    """Whether a file is of a commit, in full or in part; of one that cannot be read its name tells."""
    if isinstance(file, RunSummary):
        words = f"{file.commit} {file.build}".split()
    else:
        words = file.name.removesuffix(".json").split("_")[-1:]
    return any(_COMMIT.fullmatch(word) and word[: len(commit)] == commit[: len(word)] for word in words)


def _at_paths(spec: str) -> list[RunSummary]:
    if os.path.isfile(spec):  # noqa: PTH113 - Path's own raises on a name that is too long
        return [load_summary(Path(spec))]
    found = [load_summary(Path(path)) for path in glob(spec, recursive=True)] if has_magic(spec) else []  # noqa: PTH207
    return sorted(found, key=lambda run: (run.created, run.number, run.name))
