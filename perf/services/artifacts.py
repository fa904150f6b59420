"""khive's artifacts, as the installed build offers them: registry, dependency graphs, fan-out, timeouts, documents.

The release has the handlers and no `ArtifactsService`; there, khive's own reader and writer of files are what
documents go through. Builds with the service are measured through it.
"""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from itertools import count, cycle
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from perf.errors import KnownFaultError, NotOfferedError
from perf.services.build import installed_build, measures, offered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

_COORDINATOR = "khive.services.artifacts.handlers.handoff_coordinator"
_TIMEOUTS = "khive.services.artifacts.handlers.timeout_manager"
_TIER = 5
_SESSIONS = 50
_AT_ONCE = 10


class LostArtifactError(Exception):
    """An artifact was written and is not there as it was written."""


class Documents(Protocol):
    """A way to write and read documents; `names` gives ever new ones, so that none is written twice."""

    names: Iterator[Any]

    async def write(self, name: Any, text: str) -> object: ...  # noqa: ANN401 - what names a document differs

    async def read(self, name: Any) -> str: ...  # noqa: ANN401

    async def there_and_back(self, name: Any, text: str) -> str: ...  # noqa: ANN401


class FileDocuments:
    """Documents as plain files, through khive's own `safe_write_file` and `safe_read_file`."""

    def __init__(self, folder: Path) -> None:
        (self._read, self._write) = offered("khive.utils", "safe_read_file", "safe_write_file")
        folder.mkdir(parents=True)
        self.names: Iterator[Any] = (folder / f"{number}.md" for number in count())

    @measures("khive.utils.safe_write_file")
    async def write(self, name: Path, text: str) -> object:
        """Write a document; LostArtifactError when khive says it could not."""
        if not self._write(name, text):
            raise LostArtifactError(f"{name} was not written")
        return name

    @measures("khive.utils.safe_read_file")
    async def read(self, name: Path) -> str:
        """Return a document's text."""
        return str(self._read(name))

    @measures("khive.utils.safe_write_file and safe_read_file in a thread, compared")
    async def there_and_back(self, name: Path, text: str) -> str:
        """Write a document and return what is read back, in a thread: khive's functions block all other tasks."""
        if not await asyncio.to_thread(self._write, name, text):
            raise LostArtifactError(f"{name} was not written")
        return str(await asyncio.to_thread(self._read, name))


class ServiceDocuments:
    """Documents of khive's `ArtifactsService`, spread over sessions, because each adds to its session's registry."""

    def __init__(self, service: Any, kind: Any, sessions: Sequence[str]) -> None:  # noqa: ANN401 - khive's own types
        self._service, self._kind = service, kind
        self.names: Iterator[Any] = ((session, f"document_{number}") for number, session in enumerate(cycle(sessions)))

    @measures("khive.services.artifacts.service.ArtifactsService.create_document")
    async def write(self, name: tuple[str, str], text: str) -> object:
        """Write a new document."""
        return await self._service.create_document(*name, self._kind, text)

    @measures("khive.services.artifacts.service.ArtifactsService.get_document")
    async def read(self, name: tuple[str, str]) -> str:
        """Return a document's text."""
        return str((await self._service.get_document(*name, self._kind)).content)

    @measures("khive.services.artifacts.service.ArtifactsService.create_document, then get_document, compared")
    async def there_and_back(self, name: tuple[str, str], text: str) -> str:
        """Write a document and return what is read back."""
        await self.write(name, text)
        return await self.read(name)


class Artifacts:
    """khive's artifacts in a scratch repository, with what their benchmarks call."""

    def __init__(self, repository: Path) -> None:
        self._folder = repository / ".khive" / "artifacts" / uuid4().hex

    def coordinator(self) -> Any:  # noqa: ANN401 - khive's own type
        """Return a coordinator of a session of its own, its registry empty."""
        (coordinator,) = offered(_COORDINATOR, "HandoffCoordinator")
        return coordinator(uuid4().hex, self._folder)

    def agents(self, number: int) -> list[Any]:
        """Return that many agents in tiers of five, each waiting for two of the tier before."""
        (agent,) = offered(_COORDINATOR, "AgentSpec")
        tiers = [one - one % _TIER for one in range(number)]
        return [
            agent(
                role=f"role{one}",
                domain="software-architecture",
                priority=0.5,
                phase=f"phase{tier}",
                context="The orders queue.",
                dependencies=[f"role{tier - 2}", f"role{tier - 1}"] if tier else [],
            )
            for one, tier in enumerate(tiers)
        ]

    def fill(self, coordinator: Any, entries: int) -> None:  # noqa: ANN401 - khive's own type
        """Give a coordinator's registry that many artifacts, as khive writes them."""
        coordinator.artifact_registry["artifacts"] = [
            {
                "agent_id": f"role{number}_software-architecture",
                "artifact_path": str(self._folder / f"phase_role{number}_software-architecture_120000.md"),
                "created_at": "2025-01-23T12:00:00",
                "phase": f"phase{number // _TIER}",
                "role": f"role{number}",
                "domain": "software-architecture",
            }
            for number in range(entries)
        ]

    @measures(f"{_COORDINATOR}.HandoffCoordinator.build_dependency_graph, then execute_parallel_fanout")
    async def fan_out(self, number: int) -> Any:  # noqa: ANN401 - khive's own type
        """Let that many agents run in the order of their dependencies; the coordinator afterwards."""
        coordinator = self.coordinator()
        coordinator.build_dependency_graph(self.agents(number))
        await coordinator.execute_parallel_fanout()
        return coordinator

    async def fan_outs(self) -> Callable[[int], Awaitable[Any]]:
        """Return `fan_out`; KnownFaultError where khive's fan-out has begun and ends before any agent has run."""
        coordinator = await self.fan_out(1)
        waiting = {node.status for node in coordinator.execution_graph.values()} == {"ready"}
        if waiting and not coordinator.ready_queue and "total_time" in coordinator.execution_metrics:
            raise KnownFaultError(f"{installed_build()}: execute_parallel_fanout returns before any agent has run")
        return self.fan_out

    def timeouts(self) -> Any:  # noqa: ANN401 - khive's own type
        """Return khive's timeout manager."""
        (create,) = offered(_TIMEOUTS, "create_timeout_manager")
        return create()

    @cached_property
    def timeout_type(self) -> Any:  # noqa: ANN401 - khive's own type
        """The kind of timeout that an agent's execution has."""
        return offered(_TIMEOUTS, "TimeoutType")[0].AGENT_EXECUTION

    async def service(self) -> tuple[Any, Any, str]:
        """Return khive's `ArtifactsService`, its type of collaborative documents, and a session of its own."""
        config, create = offered("khive.services.artifacts.factory", "ArtifactsConfig", "create_artifacts_service")
        (kind,) = offered("khive.services.artifacts.models", "DocumentType")
        service = create(config(workspace_root=self._folder / "service"))
        return service, kind.DELIVERABLE, (await service.create_session(uuid4().hex)).id

    async def filled(self, documents: int) -> tuple[Any, Any, str]:
        """Return what `service` does, its session with that many documents created one by one."""
        service, kind, session = await self.service()
        for number in range(documents):
            await service.create_document(session, f"report_{number}", kind, "Found.")
        return service, kind, session

    async def lister(self, documents: int) -> Callable[[], Awaitable[list[str]]]:
        """Return khive's list of a session's documents; KnownFaultError where it finds none of those there are."""
        service, kind, session = await self.filled(documents)
        listing = partial(service.list_documents, session, kind)
        if not await listing():
            raise KnownFaultError(f"{installed_build()}: list_documents finds none of {documents} documents")
        return listing

    async def creator(self) -> tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[int]]]:
        """Return an operation that adds a document to one session, and one that says how many its registry holds.

        KnownFaultError where documents that are created at once get lost from the registry.
        """
        service, kind, session = await self.service()
        numbers = count()

        @measures("khive.services.artifacts.service.ArtifactsService.create_document, all in one session")
        async def create() -> None:
            await service.create_document(session, f"report_{next(numbers)}", kind, "Found.")

        async def registered() -> int:
            return len((await service.get_artifact_registry(session)).artifacts)

        await asyncio.gather(*(create() for _ in range(_AT_ONCE)))
        if await registered() < _AT_ONCE:
            raise KnownFaultError(f"{installed_build()}: a session's registry loses documents that are created at once")
        return create, registered

    async def documents(self) -> Documents:
        """Return what this build writes and reads documents with."""
        try:
            service, kind, session = await self.service()
        except NotOfferedError:
            return FileDocuments(self._folder / "documents")
        more = [(await service.create_session(uuid4().hex)).id for _ in range(_SESSIONS - 1)]
        return ServiceDocuments(service, kind, [session, *more])


def round_trips(documents: Documents, text: str) -> Callable[[], Awaitable[None]]:
    """Return an operation that writes a new document and reads it back; LostArtifactError when it differs."""

    @measures(documents.there_and_back.subject)  # type: ignore[attr-defined]
    async def round_trip() -> None:
        name = next(documents.names)
        if await documents.there_and_back(name, text) != text:
            raise LostArtifactError(f"{name} holds something else than was written")

    return round_trip
