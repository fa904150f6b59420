"""khive's planning service, as the installed build offers it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from perf.services.build import offered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SIMPLE_REQUEST = "Fix a simple typo in one error message."
COMPLEX_REQUEST = (
    "Design and build a distributed, event-driven order platform with research into consensus protocols, a full "
    "migration of the existing services, security review, load testing, documentation and a staged production rollout."
)


class Planning:
    """One planner of the installed build, with what its benchmarks call.

    Attributes that are bound methods of khive are called as they are, so nothing of ours is timed.
    """

    def __init__(self) -> None:
        (self.new_planner, new_service, self._new_request, self._request, self.tiers) = offered(
            "khive.services.plan.planner_service",
            "OrchestrationPlanner",
            "PlannerService",
            "PlannerRequest",
            "Request",
            "ComplexityTier",
        )
        (self.new_cost_tracker,) = offered("khive.services.plan.cost_tracker", "CostTracker")
        self.service, self.planner = new_service(), self.new_planner()
        self.plan: Callable[[Any], Awaitable[Any]] = self.service.handle_request
        self.assess: Callable[[Any], Any] = self.planner.assess
        self.select_roles: Callable[[Any, Any], list[str]] = self.planner.select_roles
        self.evaluate: Callable[[str], Awaitable[list[Any]]] = self.planner.evaluate_request
        self.personas = [config["name"] for config in self.planner.get_evaluation_configs()]
        self.build_consensus: Callable[[list[Any], str], str] = self.planner.build_consensus

    def request(self, text: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return `text` as the planner's methods take it."""
        return self._request(text)

    def plan_request(self, text: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return `text` as `plan` takes it."""
        return self._new_request(task_description=text)

    def fault(self, response: Any) -> str | None:  # noqa: ANN401 - khive's own type
        """Return what is wrong with a plan, None when it is whole.

        khive answers a failure with a response too, and plans on when only some of its personas answered.
        """
        if not response.success:
            return f"planning failed: {response.error}"
        if not response.phases:
            return "the plan has no phases"
        silent = [name for name in self.personas if name not in response.summary]
        return f"no answer from {', '.join(silent)}" if silent else None


@asynccontextmanager
async def opened() -> AsyncIterator[Planning]:
    """Give the planning service and close it; needs OPENAI_BASE_URL and a scratch folder to stand in."""
    planning = Planning()
    try:
        yield planning
    finally:
        await planning.service.close()
