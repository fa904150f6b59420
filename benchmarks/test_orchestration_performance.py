"""khive's orchestration service: start-up, branches, fields, analyses, issues, plans, whole flows, memory, stress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf.services.claude import ANALYSIS
from perf.services.orchestration import ANALYSES, GATES

if TYPE_CHECKING:
    from benchmarks.conftest import Measure, MeasureLeak
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.orchestration import Orchestration

MODELS = pytest.mark.parametrize("name", ANALYSES)
MICROSECONDS = pytest.mark.benchmark(min_time=0.0005, max_time=0.1)
TENTHS_OF_SECONDS = pytest.mark.benchmark(min_rounds=5)


@pytest.mark.benchmark
async def test_startup(async_benchmark: AwaitableBenchmark, orchestration: Orchestration) -> None:
    orchestrator = orchestration.orchestrator()

    await async_benchmark(orchestrator.initialize)

    assert orchestrator.orc_branch.name == f"{orchestrator.flow_name}_orchestrator"


@pytest.mark.quick
@pytest.mark.benchmark
async def test_orchestrator_branch(benchmark: SyncBenchmark, orchestration: Orchestration) -> None:
    orchestrator = await orchestration.started()

    branch = benchmark(orchestrator.new_orc_branch)

    assert orchestrator.session.get_branch(branch.id) is branch


@pytest.mark.benchmark
@pytest.mark.parametrize("role", ["implementer", "researcher"])
async def test_simple_operation(async_benchmark: AwaitableBenchmark, orchestration: Orchestration, role: str) -> None:
    """A branch for an agent, its role and domain composed: in the repository, and in a workspace of its own."""
    orchestrator = await orchestration.started()

    async def fresh_session() -> tuple[object]:
        await orchestrator.initialize()
        return (orchestration.agent(role),)

    branch = await async_benchmark.pedantic(orchestrator.create_cc_branch, setup=fresh_session)

    prompt = orchestrator.session.get_branch(branch).system.rendered.lower()
    assert role in prompt
    assert "async" in prompt


@pytest.mark.quick
@MICROSECONDS
async def test_gate_field(benchmark: SyncBenchmark, orchestration: Orchestration) -> None:
    field = benchmark(orchestration.generate_gate_field, project_phase="production", is_critical_path=True, **GATES)

    assert set(GATES) | {"threshold_met"} <= set(field.base_type.model_fields)


@MICROSECONDS
async def test_plan_field(benchmark: SyncBenchmark, orchestration: Orchestration) -> None:
    field = benchmark(orchestration.generate_plan_field, initial="Find it.", refinement="Mend it.")

    assert set(field.base_type.model_fields) == {"initial", "refinement"}


@MICROSECONDS
@MODELS
async def test_analysis_schema(benchmark: SyncBenchmark, orchestration: Orchestration, name: str) -> None:
    schema = benchmark(orchestration.analysis(name).model_json_schema)

    assert set(schema["required"]) == set(ANALYSIS)


@MICROSECONDS
@MODELS
async def test_analysis_validation(benchmark: SyncBenchmark, orchestration: Orchestration, name: str) -> None:
    analysis = benchmark(orchestration.analysis(name).model_validate, ANALYSIS)

    assert analysis.model_dump() == ANALYSIS


@pytest.mark.benchmark
async def test_issue_parsing(benchmark: SyncBenchmark, orchestration: Orchestration) -> None:
    plans = benchmark(orchestration.load_issues, orchestration.issues(10))

    assert set(plans) == {str(number) for number in range(1, 11)}
    assert all(plan.refinement_config.gates == ["design", "security"] for plan in plans.values())


@TENTHS_OF_SECONDS
@pytest.mark.parametrize("agents", [1, 5, 10, 20])
async def test_expand_with_plan(async_benchmark: AwaitableBenchmark, orchestration: Orchestration, agents: int) -> None:
    async def fresh_flow() -> tuple[object, object, object]:
        return await orchestration.to_expand(agents)

    operations = await async_benchmark.pedantic(orchestration.expand, setup=fresh_flow)

    assert len(set(operations)) == agents
    graph = orchestration.last_flow.builder.get_graph()
    assert all(operation in graph.internal_nodes for operation in operations)


@pytest.mark.benchmark
async def test_complex_operation(async_benchmark: AwaitableBenchmark, orchestration: Orchestration) -> None:
    """A whole flow: a plan, two agents at once, and their work put together."""
    response = await async_benchmark(orchestration.flow)

    assert orchestration.fault(response) is None


@pytest.mark.scalability
async def test_branches_at_once(at_once: Measure, orchestration: Orchestration) -> None:
    await at_once(orchestration.checked_branch, measured=orchestration.checked_branch)


@pytest.mark.scalability
@pytest.mark.slow
async def test_flows_at_once(at_once: Measure, orchestration: Orchestration) -> None:
    await at_once(orchestration.checked_flow, measured=orchestration.flow)


@pytest.mark.scalability
@pytest.mark.slow
async def test_branch_knee(knee_of: Measure, orchestration: Orchestration) -> None:
    await knee_of(orchestration.checked_branch, 20, "simple_operation_ms", measured=orchestration.checked_branch)


@pytest.mark.scalability
@pytest.mark.slow
async def test_branches_in_processes(in_processes: Measure, orchestration: Orchestration) -> None:
    await in_processes("orchestration", measured=orchestration.checked_branch)


@pytest.mark.memory
@pytest.mark.slow
async def test_flow_memory(memory_of: Measure, orchestration: Orchestration) -> None:
    await memory_of(orchestration.checked_flow, measured=orchestration.flow)


@pytest.mark.memory
@pytest.mark.slow
async def test_flow_leak(leak_of: MeasureLeak, orchestration: Orchestration) -> None:
    await leak_of(orchestration.checked_flow, measured=orchestration.flow)


@pytest.mark.stress
@pytest.mark.slow
async def test_flow_stress(under_stress: Measure, orchestration: Orchestration) -> None:
    await under_stress(orchestration.checked_flow, measured=orchestration.flow)
