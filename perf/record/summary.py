"""A saved run without its rounds: what comparing, judging and listing runs need of it."""

from __future__ import annotations

import msgspec

from perf.record.run import Metric  # noqa: TC001 - msgspec reads the annotation


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """What is measured, the same in every run: its history's key.

    `test` is the test's id, `name` what a report calls it (`cache_get[1KiB]`), `kind` and `concurrency` are those of
    a Measurement.
    """

    service: str
    name: str
    test: str
    kind: str
    concurrency: int


class Figures(msgspec.Struct, frozen=True, array_like=True):
    """One operation's figures in one run.

    `metrics` of times are `median`, `mean`, `min` and `p95` of `samples` rounds, in seconds; of load and memory tests
    those of the measurement, with `samples` 0.
    """

    operation: Operation
    metrics: dict[str, Metric]
    samples: int


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A saved run: `number` and `name` are those of its file, `commit` the suite's, `build` khive's version and commit.

    `machine` and `settings` are texts: runs with equal ones can be compared. `untimed` as in Run.
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
    """A file that is named like a run and is none, for a `reason` of one line; `profile` is what its name says."""

    name: str
    number: int
    profile: str | None
    reason: str


class SavedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of a folder in the order of their numbers, and the files that cannot be read."""

    runs: list[RunSummary]
    unreadable: list[Unreadable]
