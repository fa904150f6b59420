"""The summary of every saved run, kept in one small file beside them, so that a thousand runs are read at once."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from perf.errors import UnreadableRunError
from perf.record.run import FORMAT, Metric
from perf.record.store import write_whole
from perf.record.summary import Figures, Operation, RunSummary, SavedRuns, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FILE = ".index.json"
"""The index, in the folder of the runs; it can be deleted at any time."""

LARGEST = 256 * 1024 * 1024
"""Bytes of the largest file that is read; a run of all services is about 2 MB."""

_VERSION = 1
_NUMBERED = re.compile(r"(\d{4,})_(?:([a-z]+)_)?.*\.json")


class _Stats(msgspec.Struct):
    data: list[float]


class _Info(msgspec.Struct):
    service: str | None = None
    operation: str | None = None


class _Benchmark(msgspec.Struct):
    fullname: str
    stats: _Stats
    extra_info: _Info = msgspec.field(default_factory=_Info)


class _Origin(msgspec.Struct):
    test: str
    service: str


class _Measurement(msgspec.Struct):
    origin: _Origin
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


class _Environment(msgspec.Struct):
    machine: _Machine
    khive: dict[str, str | None] | None
    suite: dict[str, str | None]


class _Section(msgspec.Struct):
    format: int
    created: str
    profile: str
    verdict: str
    environment: _Environment
    settings: dict[str, dict[str, Any]]
    measurements: list[_Measurement]
    untimed: str | None = None


class _Document(msgspec.Struct):
    benchmarks: list[_Benchmark]
    khive_performance: _Section


class _Version(msgspec.Struct):
    format: int


class _AnyVersion(msgspec.Struct):
    khive_performance: _Version


class _Entry(msgspec.Struct, array_like=True):
    """What the index holds of a file, true as long as size and time of change are the same."""

    size: int
    changed: int
    run: RunSummary | None
    unreadable: Unreadable | None


class _Index(msgspec.Struct):
    version: int
    files: dict[str, _Entry]


_DOCUMENTS = msgspec.json.Decoder(_Document)


def summaries(folder: Path) -> SavedRuns:
    """Return a summary of every saved run in `folder`; what was read before comes from the index.

    A missing, damaged or outdated index is made anew; where it cannot be written the files are read each time.
    """
    known = _read_index(folder)
    entries = {name: _entry(folder, name, stat, known.get(name)) for name, stat in _files(folder)}
    if entries != known:
        _write_index(folder, entries)
    found = [(name, entry) for name, entry in entries.items() if entry is not None]
    runs = [entry.run for _, entry in found if entry.run]
    unreadable = [entry.unreadable for _, entry in found if entry.unreadable]
    return SavedRuns(
        runs=sorted(runs, key=lambda run: (run.number, run.name)),
        unreadable=sorted(unreadable, key=lambda one: (one.number, one.name)),
    )


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _NUMBERED.fullmatch(entry.name) and entry.is_file():
                    yield entry.name, entry.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnreadableRunError(f"{folder}: {error.strerror}") from None


def _entry(folder: Path, name: str, stat: os.stat_result, known: _Entry | None) -> _Entry:
    if known and (known.size, known.changed) == (stat.st_size, stat.st_mtime_ns):
        return known
    run, unreadable = None, None
    try:
        run = load_summary(folder / name, name)
    except UnreadableRunError as error:
        number, profile = _place(name)
        unreadable = Unreadable(name=name, number=number, profile=profile, reason=str(error))
    return _Entry(size=stat.st_size, changed=stat.st_mtime_ns, run=run, unreadable=unreadable)


def load_summary(path: Path, name: str | None = None) -> RunSummary:
    """Return the summary of the run saved at `path`, called `name` (its path); UnreadableRunError if it is none."""
    shown = name or str(path)
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise UnreadableRunError(f"{shown}: too large for a saved run ({size / 1e6:.0f} MB): move it away")
        return summarise_document(path.read_bytes(), shown)
    except OSError as error:
        raise UnreadableRunError(f"{shown}: {error.strerror}") from None


def summarise_document(content: bytes, name: str) -> RunSummary:
    """Return the summary of a run, called `name`, from what its file holds; UnreadableRunError if it is none."""
    try:
        version = msgspec.json.decode(content, type=_AnyVersion).khive_performance.format
        if version != FORMAT:
            raise UnreadableRunError(
                f"{name}: format {version}, and this suite reads format {FORMAT}: update the suite"
            )
        document = _DOCUMENTS.decode(content)
        section = document.khive_performance
        figures = [*map(_of_benchmark, filter(_is_ours, document.benchmarks)), *_of_measurements(section.measurements)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRunError(f"{name}: not a saved run of this suite, or damaged ({error}): move it away") from None
    except _BadTimeError as error:
        raise UnreadableRunError(f"{name}: {error}: move it away, or measure again") from None
    return RunSummary(
        number=_place(name.rpartition("/")[2])[0],
        name=name,
        profile=section.profile,
        created=section.created,
        commit=section.environment.suite.get("commit"),
        build=_build(section.environment.khive),
        verdict=section.verdict,
        machine=_machine(section.environment.machine),
        settings=_settings(section.settings),
        untimed=section.untimed,
        figures=_distinct(figures),
    )


class _BadTimeError(Exception):
    """A time that is none."""


def _is_ours(benchmark: _Benchmark) -> bool:
    return benchmark.extra_info.operation is not None and bool(benchmark.stats.data)


def _of_benchmark(benchmark: _Benchmark) -> Figures:
    name = benchmark.fullname.rpartition("::")[2].removeprefix("test_")
    operation = Operation(benchmark.extra_info.service or "-", name, benchmark.fullname, "latency", 1)
    return Figures(operation, _times(benchmark.stats.data, benchmark.fullname), len(benchmark.stats.data))


def _of_measurements(measurements: Sequence[_Measurement]) -> Iterator[Figures]:
    for one in measurements:
        operation = Operation(one.origin.service, _name(one), one.origin.test, one.kind, one.concurrency)
        if one.kind != "latency":
            yield Figures(operation, one.metrics, 0)
        elif one.samples:
            yield Figures(operation, _times(one.samples, one.origin.test), len(one.samples))


def _name(one: _Measurement) -> str:
    """Return the operation with the parameters of its test, unless they only say how many tasks there were."""
    _, bracket, parameters = one.origin.test.rpartition("::")[2].partition("[")
    return one.operation if parameters == f"{one.concurrency}]" else f"{one.operation}{bracket}{parameters}"


def _times(data: Sequence[float], test: str) -> dict[str, Metric]:
    ordered = sorted(data)
    if not (ordered[0] > 0 and math.isfinite(ordered[-1])):
        wrong = next(value for value in data if not (value > 0 and math.isfinite(value)))
        raise _BadTimeError(f"{test} has a time of {wrong:g} s, and a time must be above 0 and finite")
    mean = math.fsum(ordered) / len(ordered)
    figures = {"median": _quantile(ordered, 0.5), "mean": mean, "min": ordered[0], "p95": _quantile(ordered, 0.95)}
    return {name: Metric(value, "s", "lower") for name, value in figures.items()}


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Return what `perf.distribution.percentile` does, of values in order; for few values numpy is ten times slower."""
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _distinct(figures: Sequence[Figures]) -> list[Figures]:
    """Number those that a test measured several times under one name, so that each has a history of its own."""
    seen: dict[Operation, int] = {}
    distinct = []
    for one in figures:
        times = seen[one.operation] = seen.get(one.operation, 0) + 1
        if times > 1:
            operation = msgspec.structs.replace(one.operation, name=f"{one.operation.name} ({times})")
            one = Figures(operation, one.metrics, one.samples)  # noqa: PLW2901
        distinct.append(one)
    return distinct


def _place(name: str) -> tuple[int, str | None]:
    match = _NUMBERED.fullmatch(name)
    return (int(match[1]), match[2]) if match else (0, None)


def _build(khive: dict[str, str | None] | None) -> str:
    if khive is None:
        return "no khive"
    commit = khive.get("commit")
    return f"khive {khive.get('version')}" + (f" at {commit[:12]}" if commit else "")


def _machine(machine: _Machine) -> str:
    """Return what makes machines alike; not their names, for each job of a hosted CI has a new one."""
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    return f"{machine.cpus} × {machine.cpu}, {memory}, {machine.architecture}, {machine.system.partition(' ')[0]}"


def _settings(settings: dict[str, dict[str, Any]]) -> str:
    def text(value: object) -> str:
        return "/".join(map(str, value)) if isinstance(value, list) else str(value)

    return ", ".join(f"{name} {text(setting.get('value'))}" for name, setting in sorted(settings.items()))


def _read_index(folder: Path) -> dict[str, _Entry]:
    try:
        index = msgspec.json.decode((folder / FILE).read_bytes(), type=_Index)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return index.files if index.version == _VERSION else {}


def _write_index(folder: Path, entries: dict[str, _Entry]) -> None:
    """Keep the index; it is a convenience, so a folder that cannot be written to, or a full disk, is no error."""
    try:
        write_whole(folder / FILE, msgspec.json.encode(_Index(version=_VERSION, files=entries)))
    except (OSError, UnicodeEncodeError):
        return
