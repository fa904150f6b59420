"""What is needed of every saved run, kept in one small file beside them, so that a thousand runs are read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perf.record.run import Metric  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from pathlib import Path


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """What is measured, the same in every run: its history's key.

    `test` is the test's id, `name` what a report calls it (`cache_get[10KiB]`), `kind` and `concurrency` as in a
    Measurement.
    """

    service: str
    name: str
    test: str
    operation: str
    kind: str
    concurrency: int


class Figures(msgspec.Struct, frozen=True, array_like=True):
    """One operation's figures in one run.

    `metrics` of a latency measurement are `median`, `mean`, `min`, `p95` (seconds, lower is better); of others those
    of the measurement. `samples` is how many rounds they rest on (0 for others).
    """

    operation: Operation
    metrics: dict[str, Metric]
    samples: int


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A saved run without its rounds.

    `number` and `name` are those of its file; `commit` is the suite's, `build` khive's version and commit in words.
    `machine` and `settings` are texts: equal texts are comparable. `untimed` as in Run.
    """

    number: int
    name: str
    profile: str
    created: str
    commit: str | None
    build: str
    verdict: str
    machine: str
    settings: str
    untimed: str | None
    figures: list[Figures]


class Unreadable(msgspec.Struct, frozen=True):
    """A file among the runs that is none; `reason` is one line, `number` None where its name has none."""

    name: str
    number: int | None
    profile: str | None
    reason: str


class SavedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of a folder in the order of their numbers, and the files that cannot be read."""

    runs: list[RunSummary]
    unreadable: list[Unreadable]


def summaries(folder: Path) -> SavedRuns:
    """Return a summary of every saved run in `folder`, from its index where that is up to date."""
    raise NotImplementedError
