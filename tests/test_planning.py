"""The binding to the planning service of the khive that is installed, against the stand-in."""

from __future__ import annotations

import socket
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from perf.services import endpoint
from perf.services.build import subject_of
from perf.services.planning import COMPLEX_REQUEST, SIMPLE_REQUEST, Planning, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perf.services.endpoint import Endpoint

# khive's own warnings, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PLANNER = "khive.services.plan.planner_service"
VERSION = f"(khive {metadata.version('khive')})"


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


def test_a_plan_that_lacks_something_is_no_plan(scratch: Path) -> None:
    """A response that calls itself a success is no plan without phases, or when a persona did not answer."""
    planning = Planning()
    answered = " ".join(planning.personas)

    assert planning.fault(SimpleNamespace(success=True, phases=[], summary=answered)) == "the plan has no phases"
    assert planning.fault(SimpleNamespace(success=True, phases=["one"], summary=answered)) is None
    partly = SimpleNamespace(success=True, phases=["one"], summary=answered.replace(planning.personas[0], ""))
    assert planning.fault(partly) == f"no answer from {planning.personas[0]}"


def test_subjects_are_khives_own(scratch: Path) -> None:
    """What the benchmarks call is khive's own code, and each subject names it with khive's version."""
    planning = Planning()

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
    planning = Planning()
    simple, hard = planning.request(SIMPLE_REQUEST), planning.request(COMPLEX_REQUEST)

    assert planning.assess(simple) is planning.tiers.SIMPLE
    assert planning.assess(hard) is planning.tiers.VERY_COMPLEX
    assert len(planning.select_roles(hard, planning.assess(hard))) > 3
    assert planning.new_cost_tracker().add_request(1200, 350) > 0


async def test_the_personas_disagree(scratch: Path) -> None:
    """Consensus has something to settle: several personas answer, and not all of them alike."""
    async with opened() as planning:
        evaluations = await planning.evaluate(COMPLEX_REQUEST)

        assert len(evaluations) > 1
        assert len({str(one["evaluation"].role_priorities) for one in evaluations}) > 1
        assert evaluations[0]["evaluation"].role_priorities[0] in planning.build_consensus(evaluations, COMPLEX_REQUEST)


async def test_khive_writes_into_the_scratch_folder(scratch: Path) -> None:
    """What a plan leaves behind is in the folder the test stands in."""
    async with opened() as planning:
        await planning.plan(planning.plan_request(SIMPLE_REQUEST))

    assert (scratch / ".khive" / "workspace").is_dir()
