"""What is needed of every saved run, kept in one small file beside them, so that a thousand runs are read at once."""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from perf.errors import UnreadableRunError
from perf.record.run import FORMAT, SECTION, Metric, Origin
from perf.record.store import NUMBERED, write_whole
from perf.record.summary import Figures, Operation, RunSummary, SavedRuns, Unreadable, build_in_words, parameters_of
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

INDEX = ".index"
"""The index's name; it does not end in .json, for pytest-benchmark would list it as a run."""

LARGEST = 2**28
"""Bytes beyond which a file is not read: a hundred times what a run of all fast benchmarks takes."""

_VERSION = f"1 of runs of format {FORMAT}"
_GIB = 2**30
_PROFILE = re.compile(r"\d+_([^_]+)_")
_NOT_FINITE = re.compile(rb"[\[:,]\s*-?(?:NaN|Infinity)")
_NEVER = (-1, -1)
_READABLE = "make it readable, or move it elsewhere"


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """One file in the index, up to date while the file's size and time of change (ns) are `stamp`."""

    stamp: tuple[int, int]
    run: RunSummary | None = None
    unreadable: Unreadable | None = None


class _Index(msgspec.Struct, frozen=True):
    version: str
    files: dict[str, _Entry]


# What a summary needs of a saved run; the decoder passes over the rest, which is most of it.
class _Info(msgspec.Struct):
    service: str | None = None
    operation: str | None = None


class _Stats(msgspec.Struct):
    data: list[float] = []


class _Benchmark(msgspec.Struct):
    name: str
    fullname: str
    extra_info: _Info
    stats: _Stats


class _Measurement(msgspec.Struct):
    origin: Origin
    kind: str
    operation: str
    concurrency: int = 1
    metrics: dict[str, Metric] = {}
    samples: list[float] = []


class _Machine(msgspec.Struct):
    system: str
    architecture: str
    cpu: str
    cpus: int | None
    memory_bytes: int


class _Khive(msgspec.Struct):
    version: str
    commit: str | None = None


class _Suite(msgspec.Struct):
    commit: str | None = None


class _Environment(msgspec.Struct):
    machine: _Machine
    suite: _Suite
    khive: _Khive | None = None


class _Setting(msgspec.Struct):
    value: Any


class _Section(msgspec.Struct):
    format: int
    created: str
    profile: str
    verdict: str
    environment: _Environment
    settings: dict[str, _Setting]
    measurements: list[_Measurement]
    untimed: str | None = None


class _Document(msgspec.Struct):
    benchmarks: list[_Benchmark]
    section: _Section = msgspec.field(name=SECTION)


_DOCUMENT = msgspec.json.Decoder(_Document)
_INDEX = msgspec.json.Decoder(_Index)


def summaries(folder: Path) -> SavedRuns:
    """Return a summary of every saved run in `folder`, from its index where that is up to date.

    The index is brought up to date where it can be written. UnreadableRunError if `folder` cannot be listed.
    """
    known = _read_index(folder)
    files = {_text(file.name): file for file in _numbered(folder)}
    entries = {
        name: entry if (entry := known.get(name)) and entry.stamp == _stamp(file) else _read(name, file)
        for name, file in files.items()
    }
    if entries != known:
        _write_index(folder, entries)
    runs = [entry.run for entry in entries.values() if entry.run]
    return SavedRuns(
        runs=sorted(runs, key=lambda run: (run.number, run.name)),
        unreadable=[entry.unreadable for _, entry in sorted(entries.items()) if entry.unreadable],
    )


def load_summary(path: Path) -> RunSummary:
    """Return the summary of the run saved at `path`; UnreadableRunError, in one line, if it is none."""
    try:
        _, content = _contents(str(path))
    except OSError as error:
        raise UnreadableRunError(f"{_plain(str(path))}: {error.strerror}; {_READABLE}") from None
    return msgspec.structs.replace(_summary(path.name, str(path), content), path=str(path))


def summarise_document(content: bytes, name: str) -> RunSummary:
    """Return the summary of a run, called `name`, from what its file would hold; UnreadableRunError if it is none."""
    return _summary(name, name, content)


def _numbered(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as files:
            return [file for file in files if NUMBERED.fullmatch(file.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableRunError(f"{folder}: {error.strerror}; name the folder that runs are saved in") from None


def _read_index(folder: Path) -> dict[str, _Entry]:
    try:
        index = _INDEX.decode((folder / INDEX).read_bytes())
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return {}
    return index.files if index.version == _VERSION else {}


def _write_index(folder: Path, entries: dict[str, _Entry]) -> None:
    with suppress(OSError):  # a read-only folder or a full disk: the next reader takes its time again
        write_whole(folder / INDEX, msgspec.json.encode(_Index(version=_VERSION, files=entries)))


def _stamp(file: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return _NEVER
    return status.st_size, status.st_mtime_ns


def _read(name: str, file: os.DirEntry[str]) -> _Entry:
    """Read one file; what the system refuses is tried each time again, for leave to read shows in no stamp."""
    stamp = _NEVER
    try:
        stamp, content = _contents(file.path)
        return _Entry(stamp=stamp, run=_summary(file.name, name, content))
    except OSError as error:
        reason = f"{_plain(name)}: {error.strerror}; {_READABLE}"
    except UnreadableRunError as error:
        reason = str(error)
    number, profile = NUMBERED.fullmatch(file.name), _PROFILE.match(name)
    unreadable = Unreadable(
        name=name, number=int(number[1]) if number else None, profile=profile[1] if profile else None, reason=reason
    )
    return _Entry(stamp=stamp, unreadable=unreadable)


def _contents(path: str) -> tuple[tuple[int, int], bytes | None]:
    """Return a file's stamp and its bytes, None for the bytes of one that is too large to read."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a thousand paths need not be built
        raise OSError(errno.EINVAL, "not a file")  # a pipe would be waited for
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        return (status.st_size, status.st_mtime_ns), file.read() if status.st_size <= LARGEST else None


def _summary(name: str, where: str, content: bytes | None) -> RunSummary:
    where = _plain(where)
    if name != _text(name):
        raise UnreadableRunError(f"{where}: its name is not UTF-8 text; rename it")
    if content is None:
        raise UnreadableRunError(f"{where}: larger than {format_quantity(LARGEST, 'B')}; move it elsewhere")
    document = _decoded(where, content)
    section, environment = document.section, document.section.environment
    try:
        datetime.fromisoformat(section.created)
        settings = ", ".join(f"{key} {_value(setting.value)}" for key, setting in sorted(section.settings.items()))
        figures = list(_figures(document))
    except (ValueError, RecursionError) as error:
        raise UnreadableRunError(f"{where}: {error}; delete it and measure again") from None
    number = NUMBERED.fullmatch(name)
    return RunSummary(
        number=int(number[1]) if number else 0,
        name=name,
        profile=section.profile,
        created=section.created,
        commit=environment.suite.commit,
        build=build_in_words(msgspec.structs.asdict(environment.khive) if environment.khive else None),
        verdict=section.verdict,
        machine=_machine(environment.machine),
        settings=settings,
        untimed=section.untimed,
        figures=figures,
    )


def _decoded(where: str, content: bytes) -> _Document:
    foreign = f"{where}: not a saved run of this suite"
    if not content:
        raise UnreadableRunError(f"{where}: the file is empty; delete it and measure again")
    try:
        if not content.isascii():
            content.decode()  # the decoder does not look at the text it passes over
        document = _DOCUMENT.decode(content)
    except UnicodeDecodeError:
        raise UnreadableRunError(f"{foreign} (it is not UTF-8 text); delete it or move it elsewhere") from None
    except RecursionError:
        raise UnreadableRunError(f"{foreign} (it is nested too deeply); delete it or move it elsewhere") from None
    except msgspec.ValidationError as error:
        _check_format(where, _format(content))
        raise UnreadableRunError(f"{foreign} ({error}); delete it or move it elsewhere") from None
    except msgspec.DecodeError as error:
        why = "it holds NaN or Infinity" if _NOT_FINITE.search(content) else f"it is cut short or damaged: {error}"
        raise UnreadableRunError(f"{foreign} ({why}); delete it and measure again") from None
    _check_format(where, document.section.format)
    return document


def _format(content: bytes) -> object:
    """Return the format version that a document of another shape states."""
    try:
        return msgspec.json.decode(content)[SECTION]["format"]
    except (KeyError, TypeError, msgspec.MsgspecError, RecursionError):
        return FORMAT


def _check_format(where: str, found: object) -> None:
    if found != FORMAT:
        raise UnreadableRunError(f"{where}: format {found!r}, and this suite reads format {FORMAT}: update the suite")


def _figures(document: _Document) -> Iterator[Figures]:
    """Yield what a run measured; ValueError tells of the first time that cannot be one."""
    rounds: dict[Operation, list[float]] = defaultdict(list)
    readings: dict[Operation, list[dict[str, Metric]]] = defaultdict(list)
    for entry in document.benchmarks:
        info = entry.extra_info
        if info.service is not None and info.operation is not None:
            name = entry.name.removeprefix("test_")
            if not entry.stats.data:
                raise ValueError(f"{_plain(entry.fullname)} has no rounds")
            rounds[Operation(info.service, name, entry.fullname, info.operation, "latency", 1)] += entry.stats.data
    for one in document.section.measurements:
        name = one.operation if one.kind == "load" else one.operation + parameters_of(one.origin.test)
        key = Operation(one.origin.service, name, one.origin.test, one.operation, one.kind, one.concurrency)
        if one.samples:
            rounds[key] += one.samples
        if one.metrics:
            readings[key].append(one.metrics)
    for key, samples in rounds.items():
        yield Figures(key, _latency(key, samples), len(samples))
    for key, found in readings.items():
        yield Figures(key, _checked(key, found[0] if len(found) == 1 else _medians(found)), 0)


def _latency(key: Operation, samples: list[float]) -> dict[str, Metric]:
    ordered, total = sorted(samples), sum(samples)
    if ordered[0] <= 0.0 or total == math.inf:
        wrong = ordered[0] if ordered[0] <= 0.0 else ordered[-1]
        raise ValueError(f"{_plain(key.test)} has a round of {wrong:g} s, which it cannot be")
    figures = {
        "median": _quantile(ordered, 0.5),
        "mean": total / len(ordered),
        "min": ordered[0],
        "p95": _quantile(ordered, 0.95),
    }
    return {name: Metric(value, "s", "lower") for name, value in figures.items()}


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Return what `perf.distribution.percentile` does, of few values ten times as fast."""
    index, part = divmod(q * (len(ordered) - 1), 1.0)
    low = ordered[int(index)]
    return low + (ordered[int(index) + 1] - low) * part if part else low


def _medians(readings: Sequence[dict[str, Metric]]) -> dict[str, Metric]:
    """Return the median of each metric over several readings of the same."""
    names = {name: metric for reading in readings for name, metric in reading.items()}
    return {
        name: Metric(
            _quantile(sorted(one[name].value for one in readings if name in one), 0.5), metric.unit, metric.better
        )
        for name, metric in names.items()
    }


def _checked(key: Operation, metrics: dict[str, Metric]) -> dict[str, Metric]:
    for name, metric in metrics.items():
        if (metric.unit == "s" and metric.value < 0.0) or math.isinf(metric.value):
            figure = f"{metric.value:g} {_plain(metric.unit)}"
            raise ValueError(f"{_plain(key.test)} has a {_plain(name)} of {figure}, which it cannot be")
    return metrics


def _machine(machine: _Machine) -> str:
    """Return what must be equal for two machines to be alike; hosted ones get a new name each time."""
    system = machine.system.partition(" ")[0]
    return f"{machine.cpus} × {machine.cpu}, {round(machine.memory_bytes / _GIB)} GiB, {machine.architecture}, {system}"


def _value(value: object) -> str:
    """Return a setting's value, the same for 2 and 2.0: a file and a variable write them differently."""
    if isinstance(value, list):
        return "/".join(_value(one) for one in value)
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


def _text(name: str) -> str:
    """Return a file's name, with what in it is no text written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _plain(text: str) -> str:
    """Return a name as it can stand in a line."""
    return text if text.isprintable() else repr(text)
