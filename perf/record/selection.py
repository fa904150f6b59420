"""From what a user calls a run (number, name, commit, path, glob, latest, previous, baseline) to saved runs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import NoHistoryError, UnreadableRunError
from perf.record.index import load_summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.record.baselines import Promotion
    from perf.record.summary import RunSummary, SavedRuns

_COMMIT = re.compile(r"[0-9a-f]{6,40}")
_WILDCARDS = "*?["
_SHOWN = 3


def select(
    spec: str, saved: SavedRuns, promotions: Sequence[Promotion], *, folder: Path, profile: str | None = None
) -> list[RunSummary]:
    """Return the runs that `spec` names, oldest first; of `profile` where it is given.

    `spec` is `latest`, `previous`, `baseline`, a number, a name or its beginning, a commit (of the suite or khive), a
    path, or a glob of names or paths. UnreadableRunError when it names none, or one that cannot be read: an older
    run never stands in for it. NoHistoryError when nothing is saved, or nothing older or promoted.
    """
    if spec == "latest":
        return [_latest(saved, folder, profile)]
    if spec == "previous":
        return [_previous(saved, folder, profile)]
    if spec == "baseline":
        return [_baseline(saved, promotions, folder, profile)]
    own = [run for run in saved.runs if profile in {None, run.profile}]
    found = [run for run in own if _is_named(run, spec)] or _from_paths(spec)
    for one in saved.unreadable:
        if _is_file(one.name, one.number, spec):
            raise UnreadableRunError(one.reason)
    if not found:
        raise _nothing(spec, saved, folder, profile)
    return found


def _latest(saved: SavedRuns, folder: Path, profile: str | None) -> RunSummary:
    own = [run for run in saved.runs if profile in {None, run.profile}]
    newest = own[-1].number if own else -1
    for one in saved.unreadable:
        if one.number > newest and (profile is None or one.profile in {None, profile}):
            raise UnreadableRunError(f"the latest run cannot be read: {one.reason}")
    if not own:
        raise NoHistoryError(f"no run{_of(profile)} is saved in {folder}: measure first, `nox -s perf`")
    return own[-1]


def _previous(saved: SavedRuns, folder: Path, profile: str | None) -> RunSummary:
    latest = _latest(saved, folder, profile)
    older = [run for run in saved.runs if run.profile == latest.profile and run.number < latest.number]
    if not older:
        raise NoHistoryError(f"there is no run of profile {latest.profile} before {latest.name}: measure again")
    for one in saved.unreadable:
        if older[-1].number < one.number < latest.number and one.profile in {None, latest.profile}:
            raise UnreadableRunError(f"the run before the latest cannot be read: {one.reason}")
    return older[-1]


def _baseline(saved: SavedRuns, promotions: Sequence[Promotion], folder: Path, profile: str | None) -> RunSummary:
    profile = profile or _latest(saved, folder, None).profile
    name = next((one.run for one in reversed(promotions) if one.profile == profile), None)
    if name is None:
        raise NoHistoryError(
            f'profile {profile} has no baseline: promote a run with `invoke baseline --promote latest --reason "…"`'
        )
    for one in saved.unreadable:
        if one.name == name:
            raise UnreadableRunError(f"the baseline cannot be read: {one.reason}")
    run = next((run for run in saved.runs if run.name == name), None)
    if run is None:
        raise UnreadableRunError(f"{name}, the baseline of profile {profile}, is gone: restore it or promote another")
    return run


def _is_named(run: RunSummary, spec: str) -> bool:
    commits = [run.commit or "", run.build.rpartition(" at ")[2]]
    return (
        _is_file(run.name, run.number, spec)
        or (bool(_COMMIT.fullmatch(spec)) and any(commit.startswith(spec) for commit in commits))
        or (any(sign in spec for sign in _WILDCARDS) and fnmatchcase(run.name, spec))
    )


def _is_file(name: str, number: int, spec: str) -> bool:
    """Whether `spec` is a file's number, its name, or the beginning of its name."""
    if spec.isdecimal() and len(spec) < 6:  # noqa: PLR2004 - longer ones may be commits
        return number == int(spec)
    return name == spec or ("_" in spec and name.startswith(spec))


def _from_paths(spec: str) -> list[RunSummary]:
    path = Path(spec)
    if any(sign in spec for sign in _WILDCARDS):
        paths = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    else:
        paths = [path] if path.exists() else []
    return [load_summary(one.resolve()) for one in paths]


def _nothing(spec: str, saved: SavedRuns, folder: Path, profile: str | None) -> Exception:
    own = [run.name for run in saved.runs if profile in {None, run.profile}]
    if not own:
        return NoHistoryError(f"no run{_of(profile)} is saved in {folder}: measure first, `nox -s perf`")
    newest = ", ".join(reversed(own[-_SHOWN:]))
    return UnreadableRunError(f"{spec!r} names no run{_of(profile)} in {folder}; the newest are {newest}")


def _of(profile: str | None) -> str:
    return f" of profile {profile}" if profile else ""
