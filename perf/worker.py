"""A pytest session that is one of a pair: it runs each test when it is told to, and tells what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from perf.record.ab import BLOCKS, TURNS, turn_figures
from perf.record.environment import fingerprint
from perf.record.summary import Operation
from perf.session import CARRIED, Part, origin_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from perf.measure.lockstep import Lockstep

_OWN_FIGURES = {"load_test_runner", "performance_profiler"}


class Worker:
    """The pytest plugin of a process that keeps step with others."""

    def __init__(self, lockstep: Lockstep) -> None:
        self._lockstep = lockstep
        self._parts: list[Part] = []
        self._failed = ""
        self._deselected: list[pytest.Item] = []

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Keep at hand what may be needed as a sentinel though it was not selected."""
        self._deselected += [item for item in items if item.get_closest_marker("quick")]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Tell what can be compared, and keep what is to run."""
        self._lockstep.tell(
            "collected",
            environment=fingerprint(),
            tests=[
                {
                    "operation": msgspec.to_builtins(_operation(item)),
                    "by": _way(item),
                    "quick": item.get_closest_marker("quick") is not None,
                    "selected": item not in self._deselected,
                }
                for item in [*items, *self._deselected]
            ],
        )
        wanted = set(self._lockstep.hear()["run"])
        items[:] = [item for item in [*items, *self._deselected] if item.nodeid in wanted]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Tell what came of a test, and wait until the others are through with it too."""
        self._parts, self._failed = [], ""
        result = yield
        failure = next((part.failure for part in self._parts if part.failure), None)
        kind, reason = (failure.kind, failure.reason) if failure else ("failed" if self._failed else "", self._failed)
        figures = turn_figures(one for part in self._parts for one in part.measurements)
        self._lockstep.tell(
            "done", test=item.nodeid, kind=kind, reason=reason, figures=msgspec.to_builtins(list(figures))
        )
        self._lockstep.hear()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Let a test that cannot be cut into blocks wait for its turn."""
        if _way(item) == TURNS:
            self._lockstep.tell("turn")
            if not self._lockstep.hear()["go"]:
                pytest.skip("the other build has no turn")
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take off a report what its test measured."""
        part = vars(report).pop(CARRIED, None)
        self._parts.append(msgspec.convert(part or {}, Part, strict=False))
        if report.failed:
            self._failed = self._failed or str(report.longrepr).strip().rpartition("\n")[2]


def _operation(item: pytest.Item) -> Operation:
    origin = origin_of(item)
    return Operation(origin.service, item.name.removeprefix("test_"), origin.test, origin.operation, "latency", 1)


def _way(item: pytest.Item) -> str:
    """Return how a test is compared: in blocks, in turns, or "" where it measures no time."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if "benchmark" in fixtures:
        return BLOCKS
    return TURNS if fixtures & _OWN_FIGURES and origin_of(item).category != "memory" else ""
