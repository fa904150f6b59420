"""The binding to khive's sessions and hook events, in a furnished repository."""

# ruff: noqa: ANN401 - khive's own types are not known where the suite is only checked

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import KnownFaultError, NotOfferedError
from perf.services.session import LostSessionError, Sessions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sessions(khive_scratch: Path) -> Sessions:
    return Sessions(khive_scratch)


@pytest.fixture
def orchestrator_class(sessions: Sessions) -> Any:
    return type(sessions.orchestration.orchestrator())


def databases(folder: Path) -> int:
    return len(list(folder.rglob("claude_hooks.db")))


@pytest.mark.parametrize("branches", [1, 4])
async def test_a_session_has_its_branches(sessions: Sessions, branches: int) -> None:
    """A session of so many branches has just those, the orchestrator's among them."""
    orchestrator = await sessions.create_with(branches)

    assert len(orchestrator.session.branches) == branches
    assert orchestrator.orc_branch in orchestrator.session.branches


async def test_a_saved_session_is_found(sessions: Sessions) -> None:
    """What khive saved is read back: this session, not another, and its branches."""
    await sessions.round_trip()
    orchestrator = await sessions.create_with(3)
    await orchestrator.save_json()

    saved = sessions.saved(orchestrator)

    assert saved["metadata"]["id"] == str(orchestrator.session.id)
    assert len(saved["branches"]) == 2
    assert saved["path"].is_file()


async def test_the_newest_file_of_a_session_counts(sessions: Sessions) -> None:
    """Of several files the last of this session's own is read, whatever else is beside it."""
    orchestrator = await sessions.create()
    await orchestrator.save_json()
    first = sessions.saved(orchestrator)["path"]
    for name, holds in ((f"{orchestrator.flow_name}_session_9.json", "newer"), ("z.json", "something else")):
        first.with_name(name).write_text(json.dumps({"metadata": {"id": holds}}))

    assert sessions.saved(orchestrator)["metadata"]["id"] == "newer"


async def test_a_session_that_was_not_saved_is_lost(
    sessions: Sessions, orchestrator_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When khive writes nothing, a round trip is an error."""

    async def save_nothing(orchestrator: object) -> None: ...

    monkeypatch.setattr(orchestrator_class, "save_json", save_nothing)

    with pytest.raises(LostSessionError, match="wrote nothing"):
        await sessions.round_trip()


async def test_another_session_in_its_file_is_no_round_trip(
    sessions: Sessions, orchestrator_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the file holds a session of another id, a round trip is an error."""
    save = orchestrator_class.save_json

    async def save_another(orchestrator: Any) -> None:
        await save(orchestrator)
        saved = sessions.saved(orchestrator)
        path = saved.pop("path")
        saved["metadata"]["id"] = "another"
        path.write_text(json.dumps(saved))

    monkeypatch.setattr(orchestrator_class, "save_json", save_another)

    with pytest.raises(LostSessionError, match="holds another session"):
        await sessions.round_trip()


async def test_a_load_that_fails_is_a_known_fault(sessions: Sessions) -> None:
    """khive 0.4.0 cannot load what it saved, which is said with the build and the size of the trouble."""
    with pytest.raises(KnownFaultError, match=r"^khive 0\.4\.0 .*load_json cannot read .*\d+ validation errors"):
        await sessions.loader()


async def test_a_load_that_works_is_measured(
    sessions: Sessions, orchestrator_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where khive can load, its own `load_json` is what comes back."""

    async def load(path: Path) -> str:
        return path.name

    monkeypatch.setattr(orchestrator_class, "load_json", load)

    assert await sessions.loader() is load


async def test_a_load_that_fails_otherwise_is_no_known_fault(
    sessions: Sessions, orchestrator_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that the binding does not know is not excused."""

    async def load(path: Path) -> str:
        raise OSError("the disk is gone")

    monkeypatch.setattr(orchestrator_class, "load_json", load)

    with pytest.raises(OSError, match="the disk is gone"):
        await sessions.loader()


async def test_a_branch_can_be_loaded(sessions: Sessions) -> None:
    """One saved branch is read back as itself, though a whole session cannot be."""
    orchestrator = await sessions.create()
    await orchestrator.save_json()

    branch = sessions.load_branch(sessions.saved(orchestrator)["session_default_branch"])

    assert branch.id == orchestrator.orc_branch.id


async def test_events_are_kept_until_forgotten(sessions: Sessions, khive_scratch: Path) -> None:
    """Saved hook events are read back in order, from a database in the scratch repository, until it is removed."""
    sessions.forget_events()
    for session in ("one", "two"):
        await sessions.save_event(sessions.hook_event(session))

    assert [event.content["session_id"] for event in await sessions.all_events()] == ["one", "two"]
    assert databases(khive_scratch) == 1
    sessions.forget_events()
    assert databases(khive_scratch) == 0


async def test_events_of_other_sessions_are_a_known_fault(sessions: Sessions) -> None:
    """khive 0.4.0 gives the events of all sessions for those of one, which is said with the build and the count."""
    sessions.forget_events()

    with pytest.raises(KnownFaultError, match=r"^khive 0\.4\.0 .*get_by_session gives 1 of .* own events and 1 of"):
        await sessions.events_reader()


async def test_a_reader_of_one_session_is_measured(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where khive gives one session's events and no others, its own `get_by_session` is what comes back."""

    async def get_by_session(session: str) -> list[Any]:
        return [event for event in await sessions.all_events() if event.content["session_id"] == session]

    monkeypatch.setattr(sessions._hook_event, "get_by_session", get_by_session)  # noqa: SLF001

    assert await sessions.events_reader() is get_by_session


async def test_a_reader_that_finds_nothing_is_left_to_fail(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a reader gives no events at all is not the fault that is known of this build: its test must fail."""

    async def get_by_session(session: str) -> list[Any]:
        return []

    monkeypatch.setattr(sessions._hook_event, "get_by_session", get_by_session)  # noqa: SLF001

    assert await sessions.events_reader() is get_by_session


def test_the_release_offers_no_session_service(sessions: Sessions) -> None:
    """Without a `SessionService` both the service and its requests are "not offered" under khive's own name."""
    with pytest.raises(NotOfferedError, match=r"^khive 0\.4\.0 .*has no khive\.services\.session"):
        _ = sessions.service
    with pytest.raises(NotOfferedError, match=r"^khive 0\.4\.0 .*has no khive\.services\.session"):
        sessions.request("init")
