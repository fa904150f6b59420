"""The binding to the planning service of the khive that is installed, against the stand-in."""

from __future__ import annotations

import socket
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import NotOfferedError
from perf.services import endpoint, planning
from perf.services.build import offered, subject_of
from perf.services.planning import (
    COMPLEX_REQUEST,
    SIMPLE_REQUEST,
    IncompletePlanError,
    PersonaPlanning,
    RoundsPlanning,
    calls_of_a_plan,
    installed,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perf.services.endpoint import Endpoint

# khive's own warnings, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PLANNER = "khive.services.plan.planner_service"
VERSION = f"(khive {metadata.version('khive')})"
OPENROUTER = "https://openrouter.ai/api/v1"
ROUND = {
    "generators": [
        {"role": "decomposer", "temps": [0.2, 0.5, 0.8]},
        {"role": "strategist", "temps": [0.3, 0.7]},
    ],
    "judges": [{"role": "architect_judge"}, {"role": "quality_judge"}, {"role": "coordination_judge"}],
    "orchestration": {"candidates_per_round": 5, "judge_pairs_per_round": 6},
}
PHASE = SimpleNamespace(agents=["one"])


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Endpoint]:
    with endpoint.running(0, {}) as running:
        yield running


@pytest.fixture
def scratch(stand_in: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in and the variables khive needs, like those of the suite's own fixture."""
    monkeypatch.chdir(tmp_path)
    for name, value in stand_in.environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path


async def test_a_simple_plan_has_a_phase(scratch: Path) -> None:
    """A simple request comes back as a plan of one phase with agents in it."""
    async with opened() as planning:
        response = await planning.plan(planning.plan_request(SIMPLE_REQUEST))

        assert planning.fault(response) is None
    (phase,) = response.phases
    assert phase.agents


async def test_a_complex_plan_has_more(scratch: Path) -> None:
    """A complex request comes back with more phases and more agents than a simple one."""
    async with opened() as planning:
        simple, hard = [await planning.plan(planning.plan_request(text)) for text in (SIMPLE_REQUEST, COMPLEX_REQUEST)]

        assert planning.fault(hard) is None
    assert len(hard.phases) > len(simple.phases)
    assert hard.recommended_agents > simple.recommended_agents


async def test_a_plan_without_a_model_is_told_from_a_good_one(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the endpoint down khive still answers, and `fault` says that this is no plan."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")

    async with opened() as planning:
        response = await planning.plan(planning.plan_request(SIMPLE_REQUEST))

    assert str(planning.fault(response)).startswith("planning failed: ")


def plan(**fields: Any) -> SimpleNamespace:  # noqa: ANN401 - whatever a plan holds
    """Return a response that khive calls a success."""
    return SimpleNamespace(**({"success": True, "phases": [PHASE]} | fields))


def test_a_plan_that_lacks_something_is_no_plan(scratch: Path) -> None:
    """A response that calls itself a success is no plan without phases, agents, or the answer of each persona."""
    planning = PersonaPlanning()
    answered = " ".join(planning.personas)

    assert planning.fault(plan(phases=[], summary=answered)) == "the plan has no phases"
    assert planning.fault(plan(phases=[SimpleNamespace(agents=[])], summary=answered)) == "the plan has no agents"
    assert planning.fault(plan(summary=answered)) is None
    partly = plan(summary=answered.replace(planning.personas[0], ""))
    assert planning.fault(partly) == f"no answer from {planning.personas[0]}"


def test_a_triaged_plan_needs_no_persona(scratch: Path) -> None:
    """A plan that triage settled is whole without personas, and no plan without agents, like any other."""
    planning, summary = PersonaPlanning(), "Triage consensus (3 LLMs): {'simple': 3, 'complex': 0}"

    assert planning.fault(plan(summary=summary)) is None
    assert planning.fault(plan(summary=summary, phases=[SimpleNamespace(agents=[])])) == "the plan has no agents"


@pytest.mark.parametrize(
    ("pattern", "phases", "confidence", "fault"),
    [
        ("Expert", 1, 0.9, None),
        ("P→", 3, 0.442, None),
        ("P→", 3, 0.5, "no judge compared the candidates"),
        ("P→", 2, 0.442, "the plan was not refined: it has fewer than 3 phases"),
    ],
)
def test_a_plan_of_rounds_shows_what_it_lacks(pattern: str, phases: int, confidence: float, fault: str | None) -> None:
    """What khive falls back on without judges or a refiner is no plan; a simple request needs neither."""
    response = plan(pattern=pattern, phases=[PHASE] * phases, confidence=confidence)

    assert RoundsPlanning().fault(response) == fault


@pytest.mark.parametrize(
    ("temperatures", "judges", "calls"),
    [([0.2, 0.5, 0.8], 3, 3 + 3 + 3 * 3 + 1), ([0.2], 3, 1 + 1 + 0 + 1), ([0.1] * 9, 1, 5 + 3 + 3 * 1 + 1)],
    ids=["as shipped", "one draft", "more than a round takes"],
)
def test_a_plan_of_rounds_has_a_known_number_of_calls(temperatures: list[float], judges: int, calls: int) -> None:
    """Drafts, strategies, comparisons and the refinement add up, within what a round takes."""
    config = ROUND | {
        "generators": [{"role": "decomposer", "temps": temperatures}],
        "judges": [{"role": "judge"}] * judges,
    }

    assert calls_of_a_plan(config) == calls


def test_a_lost_call_is_an_error() -> None:
    """Calls that are whole plans pass, and so does no planner at all; one draft fewer is an error."""
    planning = RoundsPlanning()
    planning.check_calls()
    tracker = SimpleNamespace(request_count=2 * 16)
    planning.planner = SimpleNamespace(cost_tracker=tracker, config=ROUND)

    planning.check_calls()
    tracker.request_count -= 7

    with pytest.raises(IncompletePlanError, match="asks the model 16 times, but khive asked 25 times"):
        planning.check_calls()


def without_personas(module: str, *names: str) -> tuple[Any, ...]:
    """Stand for `offered` on a build that has no `PlannerService`."""
    if module == PLANNER:
        raise NotOfferedError(f"no {module}")
    return offered(module, *names)


def test_a_build_without_personas_plans_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `PlannerService` the other planner is bound: roles are not offered there, cost tracking still is."""
    assert isinstance(installed(), PersonaPlanning)
    monkeypatch.setattr(planning, "offered", without_personas)

    service = installed()

    assert isinstance(service, RoundsPlanning)
    assert service.new_cost_tracker().add_request(1200, 350) > 0
    with pytest.raises(NotOfferedError, match=f"no {PLANNER}"):
        _ = service.select_roles


async def test_the_model_of_rounds_is_ours(scratch: Path, stand_in: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """While planning in rounds is open its provider is the endpoint, with its key, and afterwards its own again."""
    from lionagi import iModel

    def settings() -> tuple[str, str]:
        model: Any = iModel(provider="openrouter", model="google/gemini-2.0-flash-001").endpoint.config
        return model.base_url, model._api_key  # noqa: SLF001

    monkeypatch.setattr(planning, "offered", without_personas)
    before = settings()
    async with opened():
        assert settings() == (stand_in.url, "stand-in")

    assert settings() == before == (OPENROUTER, before[1])


@pytest.mark.parametrize(
    ("ranked", "margin", "fault"),
    [
        (["2", "0", "1"], 0.1, None),
        (["0", "2", "1"], 0.1, "the judges prefer 2, not 0"),
        (["2", "0", "1"], 0.0, "the judges prefer 2, not 2"),
        (["2", "0"], 0.1, "the consensus ranks ['2', '0'], not ['0', '1', '2']"),
    ],
    ids=["follows", "prefers another", "is undecided", "loses one"],
)
def test_a_ranking_follows_the_judges(ranked: list[str], margin: float, fault: str | None) -> None:
    """A ranking is right that has every plan, and first and by a margin the one with the most wins."""
    comparisons = [(2, 0, 0), (2, 1, 0), (0, 1, 0), (2, 0, 1), (1, 2, 1), (0, 1, 1)]

    assert RoundsPlanning().consensus_fault((ranked, {}, margin), comparisons, ["0", "1", "2"]) == fault


def test_subjects_are_khives_own(scratch: Path) -> None:
    """What the benchmarks call is khive's own code, and each subject names it with khive's version."""
    planning = PersonaPlanning()

    subjects = {
        planning.plan: f"{PLANNER}.PlannerService.handle_request {VERSION}",
        planning.assess: f"{PLANNER}.OrchestrationPlanner.assess {VERSION}",
        planning.select_roles: f"{PLANNER}.OrchestrationPlanner.select_roles {VERSION}",
        planning.build_consensus: f"{PLANNER}.OrchestrationPlanner.build_consensus {VERSION}",
        planning.new_planner: f"{PLANNER}.OrchestrationPlanner {VERSION}",
        planning.new_cost_tracker().add_request: f"khive.services.plan.cost_tracker.CostTracker.add_request {VERSION}",
    }
    assert {subject_of(operation): subject for operation, subject in subjects.items()} == {
        subject: subject for subject in subjects.values()
    }


def test_the_parts_work_on_their_own(scratch: Path) -> None:
    """Assessment, role selection and cost tracking do khive's work without a model."""
    planning = PersonaPlanning()
    simple, hard = planning.request(SIMPLE_REQUEST), planning.request(COMPLEX_REQUEST)

    assert planning.assess(simple) is planning.assessment.SIMPLE
    assert planning.assess(hard) is planning.assessment.VERY_COMPLEX
    assert len(planning.select_roles(hard, planning.assess(hard))) > 3
    assert planning.new_cost_tracker().add_request(1200, 350) > 0


async def test_the_personas_disagree(scratch: Path) -> None:
    """Consensus has something to settle: several personas answer, and not all of them alike."""
    async with opened() as planning:
        evaluations, request = await planning.opinions(COMPLEX_REQUEST)
        consensus = planning.build_consensus(evaluations, request)

        assert len(evaluations) > 1
        assert len({str(one["evaluation"].role_priorities) for one in evaluations}) > 1
        assert planning.consensus_fault(consensus, evaluations, request) is None
        assert planning.consensus_fault(consensus.replace("Agent Range", ""), evaluations, request) is not None


async def test_khive_writes_into_the_scratch_folder(scratch: Path) -> None:
    """What a plan leaves behind is in the folder the test stands in."""
    async with opened() as planning:
        await planning.plan(planning.plan_request(SIMPLE_REQUEST))

    assert (scratch / ".khive" / "workspace").is_dir()
