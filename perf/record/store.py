"""Saved runs as files: one whole pytest-benchmark JSON file a run, numbered, never half-written."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec
from filelock import FileLock, Timeout

from perf.errors import MeasurementError, SaveError, UnreadableRunError
from perf.record.run import FORMAT, SECTION, Run, from_benchmarks

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ".khive/performance/benchmarks"
"""Where runs are saved, below the folder the suite runs in."""

NUMBERED = re.compile(r"(\d{4,18})_.*\.json")
"""The names of saved runs; no other file in the folder is one."""

_LOCK_SECONDS = 60


def claim(folder: Path) -> FileLock:
    """Make sure before measuring that a run can be saved to `folder`, and hold it until the lock is released.

    A process that ends releases it too. SaveError says why nothing can be saved; MeasurementError that
    another run is measuring: the two would slow each other.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".measuring")
        lock.acquire(blocking=False)
    except Timeout:
        raise MeasurementError("another run is measuring in this folder: wait until it has ended") from None
    except OSError as error:
        raise SaveError(f"runs cannot be saved to {folder}: {error.strerror}; make it writable") from None
    return lock


def save(document: dict[str, Any], folder: Path) -> Path:
    """Write a pytest-benchmark document that holds our part, and return its path.

    The name is `NNNN_profile_time_commit.json`, the number one above the highest in `folder`; two processes
    that save at once get two numbers. The file appears whole or not at all: SaveError says why it did not.
    """
    return save_numbered(folder, _label(document), _encode(document))


def save_numbered(folder: Path, label: str, content: bytes) -> Path:
    """Write `content` to `NNNN_label.json` in `folder`, the number one above the highest there; SaveError as `save`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            path = folder / f"{_next_number(folder):04}_{label}.json"
            write_whole(path, content)
    except (OSError, TimeoutError) as error:
        raise SaveError(f"the run was not saved to {folder}: {error}; free space or make it writable") from None
    return path


def newest(folder: Path, profile: str) -> Run | None:
    """Return the newest run of `profile` saved in `folder`, None when there is none; UnreadableRunError as `load`."""
    runs = {
        int(match[1]): path for path in folder.glob(f"*_{profile}_*.json") if (match := NUMBERED.fullmatch(path.name))
    }
    return load(runs[max(runs)]) if runs else None


def load(path: Path) -> Run:
    """Return the run saved at `path`, its benchmarks among its measurements; UnreadableRunError if it is none."""
    try:
        document = msgspec.json.decode(path.read_bytes())
        section = document[SECTION]
        if section["format"] != FORMAT:
            raise UnreadableRunError(
                f"{path}: format {section['format']}, and this suite reads format {FORMAT}: update the suite"
            )
        run = msgspec.convert(section, Run)
        measurements = [*from_benchmarks(document["benchmarks"]), *run.measurements]
    except OSError as error:
        raise UnreadableRunError(f"{path}: {error.strerror}") from None
    except KeyError as error:
        raise UnreadableRunError(f"{path}: not a saved run of this suite (it has no {error})") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, RecursionError) as error:
        raise UnreadableRunError(f"{path}: not a saved run of this suite ({error})") from None
    return msgspec.structs.replace(run, measurements=measurements)


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document, enc_hook=repr)
    except UnicodeEncodeError:  # a name or a message that is not text in full, such as an undecodable file name
        plain = msgspec.to_builtins(document, enc_hook=repr, str_keys=True)
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace")


def _next_number(folder: Path) -> int:
    names = (match for path in folder.iterdir() if (match := NUMBERED.fullmatch(path.name)))
    return max((int(match[1]) for match in names), default=0) + 1


def _label(document: dict[str, Any]) -> str:
    run = document[SECTION]
    commit = (run["environment"]["suite"]["commit"] or "no-commit").partition(" ")[0]
    time = re.sub(r"[^0-9T]", "", run["created"][:19])
    return f"{run['profile']}_{time}_{commit}"


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` in the place of what is at `path`, all of it or, with an OSError, nothing."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
