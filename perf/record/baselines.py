"""Which run of each profile is the baseline, who promoted it when, and why: all of it kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".khive/performance/baselines.json"


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One promotion of a run; `promoted` is UTC in ISO 8601, `run` the file's name, `commit` the suite's."""

    profile: str
    run: str
    reason: str
    promoted: str
    verdict: str
    commit: str | None
    forced: bool


def promotions(root: Path) -> list[Promotion]:
    """Return every promotion in `root`, oldest first; the last of a profile is in force."""
    raise NotImplementedError


def promote(root: Path, promotion: Promotion) -> None:
    """Add a promotion; the file is whole before and after."""
    raise NotImplementedError
