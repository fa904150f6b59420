"""Which run of each profile is the baseline, since when, and why: every promotion is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock, Timeout

from perf.errors import SaveError, UnreadableRunError
from perf.record.store import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".khive/performance/baselines.json"
"""Where promotions are kept, below the folder the suite runs in."""

FORMAT = 1
_LOCK_SECONDS = 60


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One promotion; `promoted` is UTC in ISO 8601, `run` the file's name, `forced` whether it had not passed."""

    profile: str
    run: str
    reason: str
    promoted: str
    verdict: str
    commit: str | None
    forced: bool


class _Kept(msgspec.Struct):
    format: int
    promotions: list[Promotion]


def promotions(root: Path) -> list[Promotion]:
    """Return every promotion below `root`, oldest first; the last of a profile is in force.

    UnreadableRunError when the file is damaged: without it nobody knows what the baseline was.
    """
    path = root / FILE
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableRunError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRunError(f"{path}: damaged ({error}): restore it, or move it away and promote anew") from None
    if kept.format != FORMAT:
        raise UnreadableRunError(f"{path}: format {kept.format}, and this suite reads format {FORMAT}: update it")
    return kept.promotions


def promote(root: Path, promotion: Promotion) -> None:
    """Keep a promotion, after all others; the file is whole before and after. SaveError says why it was not kept."""
    path = root / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".baselines.lock", timeout=_LOCK_SECONDS):
            kept = _Kept(format=FORMAT, promotions=[*promotions(root), promotion])
            write_whole(path, msgspec.json.format(msgspec.json.encode(kept), indent=2))
    except (OSError, Timeout) as error:
        raise SaveError(f"the baseline was not changed, {path}: {error}; free space or make it writable") from None
