"""khive's planning service, as the installed build offers it.

Builds plan in one of two ways: a `PlannerService` that asks personas, or a `ConsensusPlannerV3` that lets models draft,
staff, judge and refine a plan. What both have is bound here under the same names.
"""

from __future__ import annotations

import math
import os
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from perf.errors import NotOfferedError
from perf.services import lionagi
from perf.services.build import offered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SIMPLE_REQUEST = "Fix a simple typo in one error message."
COMPLEX_REQUEST = (
    "Design and build a distributed, event-driven order platform with research into consensus protocols, a full "
    "migration of the existing services, security review, load testing, documentation and a staged production rollout."
)


class IncompletePlanError(Exception):
    """khive planned on without a part it asked the model for, and called the plan a success."""


class PlanningFailedError(Exception):
    """khive answered with a response that is no plan."""


class _Planning:
    """A planner of the installed build, with what its benchmarks call.

    Each part is looked up when it is first used: what a build lacks keeps nothing else from being measured.
    Attributes that are bound methods of khive are called as they are, so nothing of ours is timed.
    """

    @cached_property
    def new_planner(self) -> Any:  # noqa: ANN401 - khive's own class
        raise NotImplementedError

    @cached_property
    def planner(self) -> Any:  # noqa: ANN401 - khive's own type
        """The planner whose parts are measured."""
        return self.new_planner()

    @cached_property
    def new_cost_tracker(self) -> Callable[[], Any]:
        return _named("khive.services.plan.cost_tracker", "CostTracker")  # type: ignore[no-any-return]

    @cached_property
    def plan(self) -> Callable[[Any], Awaitable[Any]]:
        raise NotImplementedError

    def plan_request(self, text: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return `text` as `plan` takes it."""
        return _named("khive.services.plan", "PlannerRequest")(task_description=text)

    def whole_plans(self, text: str) -> Callable[[], Awaitable[None]]:
        """Return an operation that plans `text`; PlanningFailedError when no whole plan comes of it."""
        request = self.plan_request(text)

        async def whole_plan() -> None:
            if fault := self.fault(await self.plan(request)):
                raise PlanningFailedError(fault)

        return whole_plan

    def fault(self, response: Any) -> str | None:  # noqa: ANN401 - khive's own type
        """Return what is wrong with a plan, None when it is whole.

        khive answers a failure with a response too, and plans on when only some of its calls to the model worked.
        """
        if not response.success:
            return f"planning failed: {response.error}"
        if not response.phases:
            return "the plan has no phases"
        if not any(phase.agents for phase in response.phases):
            return "the plan has no agents"
        return self._gap(response)

    def _gap(self, response: Any) -> str | None:  # noqa: ANN401 - khive's own type
        """Return what a plan that khive calls a success lacks of the model's answers."""
        raise NotImplementedError


class PersonaPlanning(_Planning):
    """khive's `PlannerService`: several personas evaluate a request, in later builds only after a triage of it."""

    _HOME = "khive.services.plan.planner_service"

    @cached_property
    def new_planner(self) -> Any:  # noqa: ANN401
        return _named(self._HOME, "OrchestrationPlanner")

    @cached_property
    def service(self) -> Any:  # noqa: ANN401
        return _named(self._HOME, "PlannerService")()

    @cached_property
    def plan(self) -> Callable[[Any], Awaitable[Any]]:
        return self.service.handle_request  # type: ignore[no-any-return]

    @cached_property
    def assess(self) -> Callable[[Any], Any]:
        return self.planner.assess  # type: ignore[no-any-return]

    @cached_property
    def assessment(self) -> Any:  # noqa: ANN401
        """The type of what `assess` returns."""
        return _named(self._HOME, "ComplexityTier")

    @cached_property
    def select_roles(self) -> Callable[[Any, Any], list[str]]:
        return self.planner.select_roles  # type: ignore[no-any-return]

    @cached_property
    def build_consensus(self) -> Callable[..., Any]:
        return self.planner.build_consensus  # type: ignore[no-any-return]

    @cached_property
    def personas(self) -> list[str]:
        """The names of those who evaluate a request."""
        return [config["name"] for config in self.planner.get_evaluation_configs()]

    def request(self, text: str) -> Any:  # noqa: ANN401
        """Return `text` as `assess` and `select_roles` take it."""
        return _named(self._HOME, "Request")(text)

    def knowledge(self, planner: Any) -> Any:  # noqa: ANN401
        """Return what a new planner must have loaded; it is empty when it has not."""
        return planner.available_roles

    async def opinions(self, text: str) -> tuple[Any, ...]:
        """Return what `build_consensus` takes: what the model says about `text`."""
        return await self.planner.evaluate_request(text), text

    def consensus_fault(self, consensus: Any, *opinions: Any) -> str | None:  # noqa: ANN401
        """Return what is wrong with a consensus, None when it follows from `opinions`."""
        agents = [one["evaluation"].total_agents for one in opinions[0]]
        expected = f"Agent Range: {min(agents)}-{max(agents)}"
        # 0.4.0 returns the text, later builds the text and its figures.
        return None if expected in str(consensus) else f"the consensus lacks {expected!r}"

    def _gap(self, response: Any) -> str | None:  # noqa: ANN401
        # A triaged plan asks no persona. Its votes need no count: khive fails the plan when one of them fails.
        if response.summary.startswith("Triage consensus"):
            return None
        silent = [name for name in self.personas if name not in response.summary]
        return f"no answer from {', '.join(silent)}" if silent else None


class RoundsPlanning(_Planning):
    """khive's `ConsensusPlannerV3`: models draft, staff, judge and refine a plan; a simple one needs none of them."""

    _REFINED_PHASES = 3
    _UNJUDGED_CONFIDENCE = 0.5

    @cached_property
    def new_planner(self) -> Any:  # noqa: ANN401
        return _named("khive.services.plan", "ConsensusPlannerV3")

    @cached_property
    def planner(self) -> Any:  # noqa: ANN401
        planner = super().planner
        # khive never resets what a planner has spent: on its budget of one cent it refuses every plan after the
        # first four. Only the budget is lifted; a planner per plan would be timed with the plan.
        planner.budgets["cost_usd"] = math.inf
        return planner

    @cached_property
    def plan(self) -> Callable[[Any], Awaitable[Any]]:
        return self.planner.plan  # type: ignore[no-any-return]

    @cached_property
    def assess(self) -> Callable[[Any], Any]:
        return _named("khive.services.plan.complexity", "score_complexity")  # type: ignore[no-any-return]

    @cached_property
    def assessment(self) -> type:
        return float

    @cached_property
    def select_roles(self) -> Callable[[Any, Any], list[str]]:
        """Not offered: here the model chooses the roles, as a part of the plan."""
        return PersonaPlanning().select_roles

    @cached_property
    def build_consensus(self) -> Callable[..., Any]:
        return self.planner.consensus.rank_candidates  # type: ignore[no-any-return]

    def request(self, text: str) -> str:
        return text

    def knowledge(self, planner: Any) -> Any:  # noqa: ANN401
        return planner.config["generators"]

    async def opinions(self, text: str) -> tuple[Any, ...]:
        """Return what khive's judges say, as its consensus takes it: (winner, loser, judge) and the plans' names."""
        # A planner of its own: these calls are no whole plan, which `check_calls` would miss.
        planner, request = self.new_planner(), self.plan_request(text)
        drafts = await planner.decomposer.generate_candidates(request)
        plans = await planner.strategist.generate_strategies(drafts, request)
        compared = await planner.judge_engine.pairwise_comparisons(plans, text)
        judges = [judge["role"] for judge in planner.config["judges"]]
        losers = [({one.candidate_a_id, one.candidate_b_id} - {one.winner_id}).pop() for one in compared]
        comparisons = [
            (int(one.winner_id), int(loser), judges.index(one.judge_id))
            for one, loser in zip(compared, losers, strict=True)
        ]
        return comparisons, [str(number) for number in range(len(plans))]

    def consensus_fault(self, consensus: Any, *opinions: Any) -> str | None:  # noqa: ANN401
        (ranked, _, margin), (comparisons, names) = consensus, opinions
        if sorted(ranked) != names:
            return f"the consensus ranks {ranked}, not {names}"
        wins = [str(winner) for winner, _, _ in comparisons]
        favourite = max(names, key=wins.count)
        return None if margin > 0 and ranked[0] == favourite else f"the judges prefer {favourite}, not {ranked[0]}"

    def _gap(self, response: Any) -> str | None:  # noqa: ANN401
        if response.pattern == "Expert":
            return None  # what khive answers to a simple request: one agent, without the model
        # When no comparison worked khive takes the first candidate, at just this confidence.
        if response.confidence == self._UNJUDGED_CONFIDENCE:
            return "no judge compared the candidates"
        # khive brings a refined plan to this many phases, and returns one it could not refine as it is.
        if len(response.phases) < self._REFINED_PHASES:
            return f"the plan was not refined: it has fewer than {self._REFINED_PHASES} phases"
        return None

    def check_calls(self) -> None:
        """Raise IncompletePlanError when a plan lacked a draft or a strategy; no plan may be under way.

        khive prints such a loss and no response tells, but its cost tracker counts: fewer drafts are staffed and
        compared in fewer calls. The loss of one comparison of several cannot be told.
        """
        planner = vars(self).get("planner")
        if planner is None:  # none was needed, and the build may have none
            return
        made, whole = planner.cost_tracker.request_count, calls_of_a_plan(planner.config)
        if made % whole:
            raise IncompletePlanError(f"a whole plan asks the model {whole} times, but khive asked {made} times in all")


Planning = PersonaPlanning | RoundsPlanning


def calls_of_a_plan(config: dict[str, Any]) -> int:
    """Return how often a plan of one round asks the model under khive's `config`.

    Once for each temperature of each decomposer, once for the strategy of each of the three drafts that khive keeps,
    once for each judge of each pair of these, and once to refine the best.
    """
    limits = config["orchestration"]
    temperatures = sum(len(one["temps"]) for one in config["generators"] if one["role"] == "decomposer")
    drafts = min(temperatures, limits["candidates_per_round"])
    kept = min(drafts, 3)
    pairs = min(math.comb(kept, 2), limits["judge_pairs_per_round"])
    return int(drafts + kept + pairs * len(config["judges"]) + 1)


def installed() -> Planning:
    """Return the planning service of the installed build."""
    try:
        offered("khive.services.plan.planner_service", "PlannerService")
    except NotOfferedError:
        return RoundsPlanning()
    return PersonaPlanning()


@asynccontextmanager
async def opened() -> AsyncIterator[Planning]:
    """Give the planning service and close it; needs a model endpoint's variables and a scratch folder to stand in."""
    planning = installed()
    if isinstance(planning, RoundsPlanning):
        with lionagi.openrouter_at(os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]):
            yield planning
        planning.check_calls()
        return
    try:
        yield planning
    finally:
        await planning.service.close()


def _named(module: str, name: str) -> Any:  # noqa: ANN401 - whatever khive has under that name
    return offered(module, name)[0]
