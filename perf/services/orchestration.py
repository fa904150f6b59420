"""khive's orchestration service, as the installed build offers it: branches, fields, analyses, issues, flows."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from perf.errors import MeasurementError
from perf.services import claude
from perf.services.build import measures, offered
from perf.services.repository import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

ANALYSES = (
    "RequirementsAnalysis",
    "CodeContextAnalysis",
    "IntegrationStrategy",
    "FeatureImplementation",
    "RequirementValidation",
    "DocumentationPackage",
    "TestStrategy",
    "WorkSynthesis",
)
GATES = {"design": True, "security": True, "performance": True, "testing": True, "documentation": True}
_HOME, _CLASS = "khive.services.orchestration.orchestrator", "LionOrchestrator"
ORCHESTRATOR = f"{_HOME}.{_CLASS}"

_ISSUE = """\
---
issue_num: {number}
flow_name: flow_{number}
pattern: W_REFINEMENT
project_phase: development
is_critical_path: false
is_experimental: false
blocks_issues: [{next}]
dependencies: []
refinement_enabled: true
refinement_desc: Mend what the critic found.
critic_domain: software-architecture
gate_instruction: Is it fit to ship?
gates: [design, security]
---
## System Prompt
You lead the work on lost orders.

## Description
Find where orders are dropped between the client and the worker.

## Planning Instructions
One agent to read, one to mend.

## Synthesis Instructions
Say what was changed and how it was checked.

## Context
The queue holds about a thousand orders a minute.
"""


class FlowFailedError(Exception):
    """A flow ended without the work it was to do."""


class Orchestration:
    """khive's orchestrator in a scratch repository, with what its benchmarks call.

    Methods of khive are called as they are, so nothing of ours is timed; what needs more than one of them is
    marked with all it measures.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        (self._orchestrator,) = offered(_HOME, _CLASS)
        _check_where_khive_works(repository)

    @cached_property
    def generate_gate_field(self) -> Callable[..., Any]:
        """khive's maker of a field for the verdict of a quality gate."""
        return self._orchestrator.generate_quality_gate_field  # type: ignore[no-any-return]

    @cached_property
    def generate_plan_field(self) -> Callable[..., Any]:
        """khive's maker of a field for the plans of a flow."""
        return self._orchestrator.generate_flow_plans_field  # type: ignore[no-any-return]

    def orchestrator(self) -> Any:  # noqa: ANN401 - khive's own type
        """Return an orchestrator with a name of its own that has not been initialized."""
        return self._orchestrator(f"flow-{uuid4().hex[:12]}")

    async def started(self) -> Any:  # noqa: ANN401 - khive's own type
        """Return an orchestrator ready to work."""
        orchestrator = self.orchestrator()
        await orchestrator.initialize()
        return orchestrator

    def agent(self, role: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return the request for an agent of that role with a domain to be composed in."""
        (request,) = offered("khive.services.composition.parts", "ComposerRequest")
        return request(role=role, domains="async-programming", context="The orders queue.")

    @measures(f"{ORCHESTRATOR}.create_cc_branch after initialize")
    async def checked_branch(self) -> None:
        """Create a branch for an agent in a session of its own; FlowFailedError when it is not composed for it."""
        orchestrator = await self.started()
        branch = await orchestrator.create_cc_branch(self.agent("implementer"))
        if "implementer" not in orchestrator.session.get_branch(branch).system.rendered.lower():
            raise FlowFailedError("the branch is not composed for its role")

    def analysis(self, name: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return one of khive's atomic analysis models."""
        (model,) = offered("khive.services.orchestration.atomic", name)
        return model

    @cached_property
    def load_issues(self) -> Callable[[Path], dict[str, Any]]:
        """khive's loader of a folder of Markdown issues."""
        (load,) = offered("khive.services.orchestration.issue_parser", "load_all_issues")
        return load  # type: ignore[no-any-return]

    def issues(self, number: int) -> Path:
        """Write that many Markdown issues and return their folder."""
        folder = self._repository / "issues" / uuid4().hex
        folder.mkdir(parents=True)
        for one in range(1, number + 1):
            (folder / f"{one}.md").write_text(_ISSUE.format(number=one, next=one + 1))
        return folder

    async def to_expand(self, agents: int) -> tuple[Any, Any, Any]:
        """Return a started orchestrator, the root operation of its flow, and a plan for that many agents."""
        (plan,) = offered("khive.services.orchestration.parts", "OrchestrationPlan")
        orchestrator = self.last_flow = await self.started()
        root = orchestrator.builder.add_operation("communicate", branch=orchestrator.orc_branch, instruction="Begin.")
        return orchestrator, root, plan.model_validate(claude.flow_plan(agents))

    @measures(f"{ORCHESTRATOR}.expand_with_plan")
    async def expand(self, orchestrator: Any, root: Any, plan: Any) -> list[Any]:  # noqa: ANN401 - khive's own types
        """Add an operation for each agent of the plan; the operations."""
        agents = len(plan.agent_requests)
        return await orchestrator.expand_with_plan(root=root, plan=plan, max_agents=agents)  # type: ignore[no-any-return]

    @measures(f"{ORCHESTRATOR}.fanout of two agents after initialize: four calls of the `claude` stand-in")
    async def flow(self) -> Any:  # noqa: ANN401 - khive's own type
        """Start an orchestrator and let it do a whole flow."""
        return await self.flow_of(await self.started())

    @measures(f"{ORCHESTRATOR}.fanout of two agents: four calls of the `claude` stand-in")
    async def flow_of(self, orchestrator: Any) -> Any:  # noqa: ANN401 - khive's own types
        """Plan, let two agents work at once, and put their work together."""
        return await orchestrator.fanout(
            initial_desc="Find and mend what loses orders.",
            planning_instruction="Plan the work for two agents.",
            synth_instruction="Say what was changed.",
            context="The queue holds about a thousand orders a minute.",
        )

    def fault(self, response: Any) -> str | None:  # noqa: ANN401 - khive's own type
        """Return what is wrong with a flow's response, None when plan, analyses and synthesis are all there."""
        results = response.flow_results["operation_results"]
        analyses = [getattr(results[node], "analysis", None) for node in response.initial_nodes]
        if len(analyses) != len(claude.flow_plan(2)["agent_requests"]):
            return f"{len(analyses)} agents worked, not two"
        if any(one is None or one.model_dump() != claude.ANALYSIS for one in analyses):
            return "an agent's analysis is missing"
        if claude.SYNTHESIS not in str(response.synth_result):
            return "the synthesis is missing"
        return None

    async def checked_flow(self) -> None:
        """Run a flow; FlowFailedError when it did not do its work."""
        if fault := self.fault(await self.flow()):
            raise FlowFailedError(fault)


def _check_where_khive_works(repository: Path) -> None:
    """Raise MeasurementError when khive was imported too early to work in `repository` with its stand-ins.

    khive reads its repository, and lionagi looks for `claude`, once, when they are imported.
    """
    (settings,) = offered("khive.toolkits.cc.settings", "cc_settings")
    (project,) = offered("khive.utils", "PROJECT_ROOT")
    (program,) = offered("lionagi.service.third_party.claude_code", "CLAUDE_CLI")
    # 0.4.0 has a setting for it; later builds take the git repository they were imported in.
    home = Path(getattr(settings, "REPO_LOCAL", project))
    if (home.resolve(), program) != (repository.resolve(), str(repository / PROGRAMS / "claude")):
        raise MeasurementError(
            f"khive was imported before its scratch repository was there, and would work in {home} with "
            f"{program or 'no claude program'}: import khive inside tests and fixtures, not at the top of a module"
        )
