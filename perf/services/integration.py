"""A whole request through khive's services: plan, cached plan, session, flow, artifacts."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING

from perf.services.build import measures, subject_of
from perf.services.claude import SYNTHESIS
from perf.services.planning import SIMPLE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from perf.services.artifacts import Documents
    from perf.services.cache import PlanCache
    from perf.services.planning import Planning
    from perf.services.session import Sessions

STEPS = ("plan", "cached_plan", "session", "flow", "artifacts")


class RequestFailedError(Exception):
    """A step of a request did not do what the next one builds on."""


class Services:
    """khive's services together, each through its own binding."""

    def __init__(self, planning: Planning, cache: PlanCache, sessions: Sessions, documents: Documents) -> None:
        self.planning, self.cache, self.sessions, self.documents = planning, cache, sessions, documents
        self._numbers = count()

        flow = sessions.orchestration.flow_of
        self.steps: dict[str, Callable[..., object]] = dict(
            zip(STEPS, (planning.plan, cache.round_trip, sessions.create, flow, documents.there_and_back), strict=True)
        )
        """What khive does in each step."""
        self.measured = measures("a whole request: " + "; ".join(map(subject_of, self.steps.values())))(lambda: None)
        """Stands for `request` where a report names its subject."""

    async def request(self, step: Callable[[str], AbstractContextManager[object]] = nullcontext) -> None:
        """Serve one request, each of its steps inside `step(name)`; RequestFailedError when one is not done."""
        key = self.cache.key({"task_description": SIMPLE_REQUEST, "context": str(next(self._numbers))})
        with step("plan"):
            plan = await self.planning.plan(self.planning.plan_request(SIMPLE_REQUEST))
        _require(self.planning.fault(plan) is None, f"no plan: {self.planning.fault(plan)}")
        with step("cached_plan"):
            await self.cache.set(key, plan)
            cached = await self.cache.get(key)
        _require(cached == plan, "the cache gave another plan")
        with step("session"):
            orchestrator = await self.sessions.create()
        with step("flow"):
            response = await self.sessions.orchestration.flow_of(orchestrator)
        _require(self.sessions.orchestration.fault(response) is None, "the flow did not do its work")
        with step("artifacts"):
            name = next(self.documents.names)
            document = await self.documents.there_and_back(name, str(response.synth_result))
        _require(SYNTHESIS in document, "the document does not hold the synthesis")


def _require(done: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not done:
        raise RequestFailedError(otherwise)
