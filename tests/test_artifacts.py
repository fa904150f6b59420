"""The binding to khive's artifacts: what it writes is there, and what is not there is found out."""

from __future__ import annotations

import asyncio
import json
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import KnownFaultError, NotOfferedError
from perf.services.artifacts import Artifacts, FileDocuments, LostArtifactError, ServiceDocuments, round_trips
from perf.services.build import subject_of

if TYPE_CHECKING:
    from pathlib import Path

# khive's own warnings, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

VERSION = f"(khive {metadata.version('khive')})"
TEXT = "Each order has a key.\n"


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    monkeypatch.chdir(tmp_path)
    return Artifacts(tmp_path)


async def test_a_document_comes_back_as_written(artifacts: Artifacts, tmp_path: Path) -> None:
    """Without khive's service a document is a file in the scratch repository, and is read as it was written."""
    documents = await artifacts.documents()
    name = next(documents.names)

    await documents.write(name, TEXT)

    assert isinstance(documents, FileDocuments)
    assert await documents.read(name) == TEXT == name.read_text()
    assert name.is_relative_to(tmp_path / ".khive" / "artifacts")


async def test_no_document_is_written_twice(artifacts: Artifacts) -> None:
    """Each round trip writes a document of its own, and two bindings never share a folder."""
    documents = await artifacts.documents()
    round_trip = round_trips(documents, TEXT)
    for _ in range(3):
        await round_trip()

    used = next(documents.names)
    assert len(list(used.parent.iterdir())) == 3
    assert not used.exists()
    assert next((await Artifacts(used.parents[4]).documents()).names).parent != used.parent


async def test_a_document_that_was_not_written_is_lost(artifacts: Artifacts) -> None:
    """When khive says that it could not write, there is an error."""
    documents = await artifacts.documents()
    in_the_way = next(documents.names)
    await documents.write(in_the_way, TEXT)

    with pytest.raises(LostArtifactError, match="was not written"):
        await documents.write(in_the_way / "below.md", TEXT)


@pytest.mark.parametrize("found", ["", TEXT.strip(), f"{TEXT}{TEXT}"])
async def test_a_document_that_reads_otherwise_is_lost(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    """A round trip is an error when the document is empty, shorter or longer than what was written."""
    documents = await artifacts.documents()
    round_trip = round_trips(documents, TEXT)

    monkeypatch.setattr(documents, "_read", lambda _: found)

    with pytest.raises(LostArtifactError, match="something else than was written"):
        await round_trip()


async def test_a_round_trip_is_named_after_what_it_does(artifacts: Artifacts) -> None:
    """Its subject is khive's writer and khive's reader and that they ran in a thread, with khive's version."""
    documents = await artifacts.documents()

    subject = subject_of(round_trips(documents, TEXT))

    assert subject == f"khive.utils.safe_write_file and safe_read_file in a thread, compared {VERSION}"
    assert subject_of(documents.write) == f"khive.utils.safe_write_file {VERSION}"


class Service:
    """What of khive's `ArtifactsService` documents are written and read through."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], str] = {}

    async def create_document(self, session: str, name: str, kind: str, text: str) -> None:
        self.kept[session, name, kind] = text

    async def get_document(self, session: str, name: str, kind: str) -> SimpleNamespace:
        return SimpleNamespace(content=self.kept[session, name, kind])


async def test_a_service_is_written_to_session_after_session() -> None:
    """Documents of a service have ever new names and take its sessions in turn."""
    service = Service()
    documents = ServiceDocuments(service, "deliverable", ["one", "two"])
    round_trip = round_trips(documents, TEXT)

    for _ in range(4):
        await round_trip()

    assert [session for session, _, _ in service.kept] == ["one", "two", "one", "two"]
    assert len({name for _, name, _ in service.kept}) == 4
    assert set(service.kept.values()) == {TEXT}
    assert "ArtifactsService.create_document, then " in subject_of(round_trip)


async def test_the_release_offers_no_artifacts_service(artifacts: Artifacts) -> None:
    """Without an `ArtifactsService` it is "not offered" under khive's own name."""
    with pytest.raises(NotOfferedError, match=r"^khive .* has no khive\.services\.artifacts\.factory$"):
        await artifacts.service()


async def test_a_fan_out_in_which_nothing_ran_is_a_known_fault(artifacts: Artifacts) -> None:
    """khive 0.4.0 ends its fan-out before an agent has run, which is said and never timed."""
    with pytest.raises(KnownFaultError, match="execute_parallel_fanout returns before any agent has run"):
        await artifacts.fan_outs()


@pytest.mark.parametrize("outcome", ["completed_agents", "failed_agents"])
async def test_a_fan_out_that_runs_is_measured(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """Where an agent has run, whatever came of it, khive's fan-out is what comes back, of so many agents."""

    async def execute(coordinator: Any, timeout: float | None = None) -> None:  # noqa: ANN401, ASYNC109 - khive's own
        getattr(coordinator, outcome).update(dict.fromkeys(coordinator.execution_graph))

    monkeypatch.setattr(type(artifacts.coordinator()), "execute_parallel_fanout", execute)

    coordinator = await (await artifacts.fan_outs())(7)

    assert len(getattr(coordinator, outcome)) == 7


@pytest.mark.parametrize(("number", "ready"), [(1, 1), (5, 5), (12, 5)])
def test_agents_wait_for_the_tier_before(artifacts: Artifacts, number: int, ready: int) -> None:
    """Of any number of agents five can begin, and each other waits for two that are there."""
    coordinator, agents = artifacts.coordinator(), artifacts.agents(number)

    coordinator.build_dependency_graph(agents)

    assert len(coordinator.execution_graph) == number
    assert len(coordinator.get_ready_agents()) == ready
    roles = {agent.role for agent in agents}
    assert [len(agent.dependencies) for agent in agents] == [0] * ready + [2] * (number - ready)
    assert {role for agent in agents for role in agent.dependencies} <= roles


def test_a_filled_registry_is_as_khive_writes_it(artifacts: Artifacts) -> None:
    """khive saves and loads so many artifacts, in a file of this session's own."""
    coordinator, other = artifacts.coordinator(), artifacts.coordinator()
    artifacts.fill(coordinator, 12)

    coordinator.save_artifact_registry()

    assert len(json.loads(coordinator.registry_path.read_text())["artifacts"]) == 12
    assert other.registry_path != coordinator.registry_path


async def test_the_timeout_manager_is_khives(artifacts: Artifacts) -> None:
    """An operation under khive's timeout comes back completed, and none is left active."""
    manager = artifacts.timeouts()

    result = await manager.execute_with_timeout("one", artifacts.timeout_type, asyncio.sleep, 0)

    assert result.status == "completed"
    assert not manager.get_active_operations()
