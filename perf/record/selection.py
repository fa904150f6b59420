"""From what a user calls a run (number, name, commit, path, glob, latest, previous, baseline) to saved runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perf.record.baselines import Promotion
    from perf.record.index import RunSummary, SavedRuns


def select(
    spec: str, saved: SavedRuns, promotions: Sequence[Promotion], *, folder: Path, profile: str | None = None
) -> list[RunSummary]:
    """Return the runs `spec` names, oldest first; UnreadableRunError says what there is when it names none."""
    raise NotImplementedError
