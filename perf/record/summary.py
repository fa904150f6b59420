"""A saved run without its rounds: what comparing, judging and listing runs need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perf.record.run import Metric  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Mapping


class Operation(msgspec.Struct, frozen=True, array_like=True, gc=False):
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
    of the measurement. `samples` is how many rounds they rest on (0 for others). Of what a run measured more than
    once in the same way, the rounds are pooled, and other metrics are the medians of the measurements.
    """

    operation: Operation
    metrics: dict[str, Metric]
    samples: int


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A saved run without its rounds.

    `number` and `name` are those of its file (0 where its name has none); `commit` is the suite's, `build` khive's
    version and commit in words. `machine` and `settings` are texts: equal texts are comparable. `untimed` as in Run.
    `path` is where it lies, "" in the folder it was found in.
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
    path: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    """A file among the runs that is none; `number` and `profile` are those of its name, None where it has none.

    `reason` is one line that begins with the name and ends with what to do.
    """

    name: str
    number: int | None
    profile: str | None
    reason: str


class SavedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of a folder in the order of their numbers, and the files that cannot be read."""

    runs: list[RunSummary]
    unreadable: list[Unreadable]


def build_in_words(khive: Mapping[str, Any] | None) -> str:
    """Return khive's version and commit, as of a fingerprint, in words."""
    if khive is None:
        return "no khive"
    return f"khive {khive['version']}" + (f" at {khive['commit']}" if khive["commit"] else "")


def parameters_of(test: str) -> str:
    """Return the part of a test's id that tells its parameters, brackets included; "" without any."""
    function = test.partition("::")[2]
    return function[function.find("[") :] if function.endswith("]") else ""
