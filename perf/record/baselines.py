"""Which run of each profile is the baseline, who promoted it when, and why: all of it kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock

from perf.errors import SaveError, UnreadableRunError
from perf.record.store import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".khive/performance/baselines.json"
FORMAT = 1

_LOCK_SECONDS = 60


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One promotion of a run; `promoted` is UTC in ISO 8601, `run` the file's name, `commit` the suite's."""

    profile: str
    run: str
    reason: str
    promoted: str
    verdict: str
    commit: str | None
    forced: bool


class _Baselines(msgspec.Struct, frozen=True):
    format: int
    promotions: list[Promotion]


def promotions(root: Path) -> list[Promotion]:
    """Return every promotion in `root`, oldest first; the last of a profile is in force.

    UnreadableRunError says why what is there cannot be read: a baseline that is damaged is not one that is missing.
    """
    path = root / FILE
    try:
        found = msgspec.json.decode(path.read_bytes())
        if found["format"] != FORMAT:
            raise UnreadableRunError(
                f"{path}: format {found['format']!r}, and this suite reads format {FORMAT}: update the suite"
            )
        return msgspec.convert(found, _Baselines).promotions
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableRunError(f"{path}: {error.strerror}; make it readable") from None
    except (KeyError, TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UnreadableRunError(
            f"{path}: not the list of baselines ({error}); restore it, or move it away and promote a run anew"
        ) from None


def promote(root: Path, promotion: Promotion) -> None:
    """Add a promotion; the file is whole before and after.

    SaveError says why it was not kept; UnreadableRunError that what is there cannot be read, and stays as it is.
    """
    path = root / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS):
            kept = _Baselines(format=FORMAT, promotions=[*promotions(root), promotion])
            write_whole(path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    except (OSError, TimeoutError, UnicodeEncodeError) as error:
        raise SaveError(f"the baseline was not kept in {path}: {error}; free space or make it writable") from None
