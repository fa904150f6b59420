"""The binding to khive's orchestration, in a furnished repository and against the `claude` stand-in."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import MeasurementError
from perf.services.build import subject_of
from perf.services.claude import ANALYSIS, SYNTHESIS, flow_plan
from perf.services.orchestration import ANALYSES, FlowFailedError, Orchestration
from perf.services.repository import PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path

ORCHESTRATOR = "khive.services.orchestration.orchestrator.LionOrchestrator"
VERSION = f"(khive {metadata.version('khive')})"


@pytest.fixture
def orchestration(khive_scratch: Path) -> Orchestration:
    return Orchestration(khive_scratch)


@pytest.fixture
def answers(khive_scratch: Path) -> Any:  # noqa: ANN401 - a generator of a dictionary-like folder
    """The folder of the stand-in's answers, which are what they were when the test is over."""
    folder = khive_scratch / PROGRAMS / "claude-answers"
    before = {path: path.read_text() for path in folder.iterdir()}
    yield folder
    for path, text in before.items():
        path.write_text(text)


async def test_a_flow_does_its_work(orchestration: Orchestration) -> None:
    """khive reads the stand-in's plan, both analyses and the synthesis out of its events, and no fault is found."""
    response = await orchestration.flow()

    assert orchestration.fault(response) is None
    results = response.flow_results["operation_results"]
    analyses = [results[node].analysis for node in response.initial_nodes]
    assert [type(one).__name__ for one in analyses] == ["RequirementsAnalysis", "FeatureImplementation"]
    assert str(response.synth_result).count(SYNTHESIS) >= 1


async def test_a_flow_is_four_calls_of_claude(orchestration: Orchestration, khive_scratch: Path) -> None:
    """A flow asks for a plan, for two analyses and for a synthesis, as its subject says."""
    program, calls = khive_scratch / PROGRAMS / "claude", khive_scratch / "calls"
    script = program.read_text()
    program.write_text(script.replace("#!/bin/sh\n", f"#!/bin/sh\necho call >>'{calls}'\n"))
    try:
        await orchestration.flow()
    finally:
        program.write_text(script)

    assert len(calls.read_text().splitlines()) == 4
    assert "four calls" in subject_of(orchestration.flow)


@pytest.mark.parametrize(
    ("answer", "old", "new", "fault"),
    [
        ("text", SYNTHESIS, "Nothing was done.", "the synthesis is missing"),
        ("analysis", ANALYSIS["critical_assessment"], "Another opinion.", "an agent's analysis is missing"),
        ("analysis", "analysis", "opinion", "an agent's analysis is missing"),
        ("plan", "Do part 2 of the work.", "Do part 1 of the work.", None),
    ],
    ids=["synthesis", "wrong analysis", "no analysis", "harmless"],
)
async def test_a_flow_without_its_work_is_found_out(  # noqa: PLR0917 - a table of cases
    orchestration: Orchestration, answers: Path, answer: str, old: str, new: str, fault: str | None
) -> None:
    """When `claude` answers with something else, the flow ends and its check says what is missing."""
    text = (answers / answer).read_text()
    assert old in text
    (answers / answer).write_text(text.replace(old, new))

    if fault is None:
        await orchestration.checked_flow()
    else:
        with pytest.raises(FlowFailedError, match=f"^{fault}$"):
            await orchestration.checked_flow()


async def test_a_flow_of_too_few_agents_is_found_out(orchestration: Orchestration) -> None:
    """A flow in which one agent worked, or none, is no flow of two."""
    response = await orchestration.flow()
    nodes = list(response.initial_nodes)

    for left in (nodes[:1], []):
        response.initial_nodes = left
        assert orchestration.fault(response) == f"{len(left)} agents worked, not two"


@pytest.mark.parametrize("role", ["implementer", "researcher"])
async def test_a_branch_is_composed_for_its_role(orchestration: Orchestration, role: str) -> None:
    """An agent's branch has its role and its domain in its system prompt, with or without a workspace of its own."""
    orchestrator = await orchestration.started()

    branch = await orchestrator.create_cc_branch(orchestration.agent(role))

    prompt = orchestrator.session.get_branch(branch).system.rendered.lower()
    assert role in prompt
    assert "async" in prompt


async def test_a_branch_of_another_role_is_found_out(
    orchestration: Orchestration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right branch passes its check, and one that is not composed for the role is an error."""
    await orchestration.checked_branch()
    orchestrator_class = type(orchestration.orchestrator())
    create = orchestrator_class.create_cc_branch

    async def create_another(orchestrator: object, request: object) -> object:
        return await create(orchestrator, orchestration.agent("tester"))

    monkeypatch.setattr(orchestrator_class, "create_cc_branch", create_another)
    with pytest.raises(FlowFailedError, match="not composed for its role"):
        await orchestration.checked_branch()


@pytest.mark.parametrize("agents", [1, 3])
async def test_a_plan_is_expanded_to_its_agents(orchestration: Orchestration, agents: int) -> None:
    """A plan for so many agents becomes so many operations of the flow."""
    operations = await orchestration.expand(*await orchestration.to_expand(agents))

    assert len(set(operations)) == agents


async def test_orchestrators_do_not_share_a_name(orchestration: Orchestration) -> None:
    """Each orchestrator has a flow of its own, or their files would be one another's."""
    assert orchestration.orchestrator().flow_name != orchestration.orchestrator().flow_name


def test_issues_are_read_as_they_were_written(orchestration: Orchestration) -> None:
    """khive's loader finds every issue, with its number, its gates and what it blocks."""
    plans = orchestration.load_issues(orchestration.issues(3))

    assert set(plans) == {"1", "2", "3"}
    assert plans["2"].refinement_config.gates == ["design", "security"]
    assert plans["2"].blocks_issues == [3]


@pytest.mark.parametrize("name", ANALYSES)
def test_the_answer_fits_every_analysis(orchestration: Orchestration, name: str) -> None:
    """The stand-in's analysis is one of each kind, whole: khive adds nothing and drops nothing."""
    model = orchestration.analysis(name)

    assert model.model_validate(ANALYSIS).model_dump() == ANALYSIS
    with pytest.raises(ValueError, match="context_analysis"):
        model.model_validate({key: text for key, text in ANALYSIS.items() if key != "context_analysis"})


def test_the_plan_is_khives_own(orchestration: Orchestration) -> None:
    """khive's plan model reads the stand-in's plan and gives the agents back as they were."""
    from khive.services.orchestration.parts import OrchestrationPlan

    plan = OrchestrationPlan.model_validate(flow_plan(2))

    roles = [str(request.compose_request.role) for request in plan.agent_requests]
    assert roles == ["researcher", "implementer"]


@pytest.mark.parametrize("program", [None, "/usr/bin/claude"])
def test_khive_with_another_claude_is_not_measured(
    khive_scratch: Path, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    """Where lionagi found no `claude`, or one that is not the stand-in, there is an error that names it."""
    from lionagi.service.third_party import claude_code

    monkeypatch.setattr(claude_code, "CLAUDE_CLI", program)

    with pytest.raises(MeasurementError, match=f"with {program or 'no claude program'}: import khive inside"):
        Orchestration(khive_scratch)


def test_khive_in_another_folder_is_not_measured(khive_scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where khive would work in another folder, there is an error that names it."""
    from khive.toolkits.cc import settings

    monkeypatch.setattr(settings, "cc_settings", SimpleNamespace(REPO_LOCAL="/elsewhere"))

    with pytest.raises(MeasurementError, match=f"would work in /elsewhere with {khive_scratch}"):
        Orchestration(khive_scratch)


def test_subjects_are_khives_own(orchestration: Orchestration) -> None:
    """What the benchmarks call is named after khive's code, with khive's version."""
    orchestrator = orchestration.orchestrator()

    for operation, name in (
        (orchestrator.initialize, "initialize"),
        (orchestrator.create_cc_branch, "create_cc_branch"),
        (orchestration.expand, "expand_with_plan"),
        (orchestration.generate_gate_field, "generate_quality_gate_field"),
        (orchestration.generate_plan_field, "generate_flow_plans_field"),
        (orchestration.checked_branch, "create_cc_branch after initialize"),
    ):
        assert subject_of(operation) == f"{ORCHESTRATOR}.{name} {VERSION}"
