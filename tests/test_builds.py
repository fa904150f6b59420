"""Builds after 0.4.0, by small fakes of theirs: what they offer is measured, what they break is told."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import KnownFaultError, MeasurementError
from perf.services import artifacts as artifacts_module
from perf.services import orchestration as orchestration_module
from perf.services import session as session_module
from perf.services.artifacts import Artifacts, LostArtifactError, ServiceDocuments, round_trips
from perf.services.build import subject_of
from perf.services.orchestration import Orchestration
from perf.services.repository import BRANCH, PROGRAMS, TASKS, furnish
from perf.services.session import LostSessionError, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

Fake = dict[str, Any]


class ArtifactsService:
    """Documents of sessions, in the words of khive's service; one that is forgetful finds nothing again."""

    def __init__(self, *, forgetful: bool = False) -> None:
        self.forgetful = forgetful
        self.documents: dict[str, dict[str, str]] = defaultdict(dict)

    async def create_session(self, session: str) -> SimpleNamespace:
        return SimpleNamespace(id=session)

    async def create_document(self, session: str, name: str, _kind: str, text: str) -> None:
        self.documents[session][name] = text

    async def get_document(self, session: str, name: str, _kind: str) -> SimpleNamespace:
        return SimpleNamespace(content="" if self.forgetful else self.documents[session][name])

    async def list_documents(self, session: str, _kind: str) -> list[str]:
        return [] if self.forgetful else list(self.documents[session])

    async def get_artifact_registry(self, session: str) -> SimpleNamespace:
        return SimpleNamespace(artifacts=await self.list_documents(session, ""))


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, Fake], None]:
    """Let a binding find these names in khive, whatever the module."""

    def offering(binding: ModuleType, names: Fake) -> None:
        monkeypatch.setattr(binding, "offered", lambda _, *wanted: tuple(names[name] for name in wanted))

    return offering


def with_service(service: ArtifactsService) -> Fake:
    return {
        "ArtifactsConfig": SimpleNamespace,
        "create_artifacts_service": lambda _config: service,
        "DocumentType": SimpleNamespace(DELIVERABLE="deliverable"),
    }


async def test_documents_go_through_a_builds_own_service(
    offering: Callable[[ModuleType, Fake], None], tmp_path: Path
) -> None:
    """Where a build has an artifacts service, documents are its own, spread over sessions, and the subject says so."""
    service = ArtifactsService()
    offering(artifacts_module, with_service(service))

    documents = await Artifacts(tmp_path).documents()
    round_trip = round_trips(documents, "text")
    await round_trip()
    await round_trip()

    assert isinstance(documents, ServiceDocuments)
    assert [list(names) for names in service.documents.values()] == [["document_0"], ["document_1"]]
    assert "ArtifactsService.create_document, then" in subject_of(round_trip)


async def test_what_an_artifacts_service_loses_is_told(
    offering: Callable[[ModuleType, Fake], None], tmp_path: Path
) -> None:
    """A document that reads differently fails; a listing or a registry without it is a fault of the build."""
    offering(artifacts_module, with_service(ArtifactsService(forgetful=True)))
    artifacts = Artifacts(tmp_path)

    with pytest.raises(LostArtifactError, match="something else than was written"):
        await round_trips(await artifacts.documents(), "text")()
    with pytest.raises(KnownFaultError, match="list_documents finds none of 3 documents"):
        await artifacts.lister(3)
    with pytest.raises(KnownFaultError, match="loses documents that are created at once"):
        await artifacts.creator()


async def test_an_artifacts_service_that_keeps_all_is_measured(
    offering: Callable[[ModuleType, Fake], None], tmp_path: Path
) -> None:
    """What lists and registers all it was given is measured, and says how much it holds."""
    offering(artifacts_module, with_service(ArtifactsService()))
    artifacts = Artifacts(tmp_path)

    create, registered = await artifacts.creator()
    before = await registered()
    await create()

    assert await registered() == before + 1
    assert len(await (await artifacts.lister(3))()) == 3


class Unsavable:
    async def save_json(self) -> None:
        json.dumps({"repo": object()})


async def test_a_session_that_cannot_be_saved_is_a_known_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving, loading and round trips say in one line that the build's sessions cannot be saved."""
    sessions = Sessions(tmp_path)

    async def create() -> Unsavable:
        return Unsavable()

    monkeypatch.setattr(sessions, "create", create)

    for operation in (sessions.to_save, sessions.loader, sessions.round_trips):
        with pytest.raises(KnownFaultError, match="save_json cannot write a session: Object of type object"):
            await operation()


async def test_any_other_type_error_of_saving_is_left_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new fault of `save_json` is not taken for the known one."""
    sessions = Sessions(tmp_path)

    class Broken:
        async def save_json(self) -> None:
            raise TypeError("unsupported operand")

    async def create() -> Broken:
        return Broken()

    monkeypatch.setattr(sessions, "create", create)

    with pytest.raises(TypeError, match="unsupported operand"):
        await sessions.to_save()


class SessionService:
    """Answers each request as one of khive's that has done its work, but for what it is `told` to say."""

    def __init__(self, told: Fake) -> None:
        done = {"success": True, "git_status": {"branch": BRANCH}, "pending_tasks": TASKS * [{}]}
        self.response = SimpleNamespace(**done | {"unprocessed_summaries": 10} | told)

    async def handle_request(self, _request: object) -> SimpleNamespace:
        return self.response


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({}, None),
        ({"success": False, "error": "no folder"}, "no folder"),
        ({"git_status": {"branch": "unknown"}}, f"('unknown', 2, 10), not ('{BRANCH}', 2, 10)"),
        ({"pending_tasks": []}, f"('{BRANCH}', 0, 10), not"),
        ({"unprocessed_summaries": 0}, f"('{BRANCH}', 2, 0), not"),
    ],
)
async def test_a_session_service_must_tell_what_there_is(
    offering: Callable[[ModuleType, Fake], None], tmp_path: Path, told: Fake, fault: str | None
) -> None:
    """A session begun by the service is counted as done when branch, tasks and summaries are all right."""
    offering(session_module, {"SessionService": lambda: SessionService(told), "SessionRequest": SimpleNamespace})

    init = Sessions(tmp_path).inits()

    if fault is None:
        await init()
    else:
        with pytest.raises(LostSessionError) as raised:
            await init()
        assert fault in str(raised.value)


def test_notes_are_left_anew(tmp_path: Path) -> None:
    """What the end of a session marked as taken up is as before after notes are left again."""
    sessions = Sessions(tmp_path)
    sessions.leave_notes()
    summary = next((tmp_path / ".khive" / "notes" / "summaries").glob("summary_*.md"))
    before = summary.read_text()
    summary.write_text(f"{before}\nprocessed: true\n")

    sessions.leave_notes()

    assert summary.read_text() == before


@pytest.mark.parametrize("setting", [{}, {"REPO_LOCAL": "elsewhere"}], ids=["project", "setting"])
def test_where_khive_works_is_read_as_the_build_has_it(
    offering: Callable[[ModuleType, Fake], None], tmp_path: Path, setting: dict[str, str]
) -> None:
    """The build's own setting says where it works, and where it has none, the project it was imported in."""
    offering(
        orchestration_module,
        {
            "LionOrchestrator": None,
            "cc_settings": SimpleNamespace(**setting),
            "PROJECT_ROOT": tmp_path,
            "CLAUDE_CLI": str(tmp_path / PROGRAMS / "claude"),
        },
    )

    if setting:
        with pytest.raises(MeasurementError, match="would work in elsewhere"):
            Orchestration(tmp_path)
    else:
        Orchestration(tmp_path)


def test_the_scratch_repository_has_what_later_builds_read(tmp_path: Path) -> None:
    """A branch, issues that `gh` lists, servers for Claude, and a copy of khive's prompts that it may write to."""
    furnish(tmp_path)

    issues = json.loads(subprocess.check_output([tmp_path / PROGRAMS / "gh", "issue", "list"]))
    branch = subprocess.check_output(["git", "branch", "--show-current"], cwd=tmp_path, text=True)
    assert len([one for one in issues if one["labels"][0]["name"] in {"bug", "enhancement"}]) == TASKS
    assert branch.strip() == BRANCH
    assert json.loads((tmp_path / ".mcp.json").read_text()) == {"mcpServers": {}}
    assert not (tmp_path / ".khive" / "prompts").is_symlink()
    assert (tmp_path / ".khive" / "prompts" / "roles" / "researcher.md").is_file()
