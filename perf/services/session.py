"""khive's sessions, as the installed build offers them: orchestrated sessions, hook events, and the session service.

The release has no session service; its sessions are the orchestrator's. The same operations are measured on
every build, and `SessionService` beside them where there is one.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from perf.errors import KnownFaultError
from perf.services.build import installed_build, measures, offered
from perf.services.orchestration import ORCHESTRATOR, Orchestration
from perf.services.repository import BRANCH, TASKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_SERVICE = "khive.services.session.session_service"
_HOOKS = "khive.services.claude.hooks.hook_event"
_DAYS = ("20250122", "20250123")
_SUMMARIES_A_DAY = 5
_SUMMARY = """\
main_topic: Lost orders
duration: 40 minutes

- Found where the client retries without a limit.
- outcome: each order has a key, and what was seen before is dropped.
"""
_DIARY = """\
# Key Accomplishments
- **Impact**: Each order is handled once.

# Tomorrow's Priorities
1. Watch the queue for orders without a key.
"""


class LostSessionError(Exception):
    """A session was created or saved and is not there as it should be."""


class Sessions:
    """khive's sessions in a scratch repository, with what their benchmarks call."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository

    @cached_property
    def orchestration(self) -> Orchestration:
        """The orchestrator that holds a session; the session service does without."""
        return Orchestration(self._repository)

    @measures(f"{ORCHESTRATOR}, then initialize: a lionagi Session with khive's orchestrator branch")
    async def create(self) -> Any:  # noqa: ANN401 - khive's own type
        """Create a session; the orchestrator that holds it."""
        return await self.orchestration.started()

    @measures(f"{ORCHESTRATOR}: initialize, then new_orc_branch for each branch but the first")
    async def create_with(self, branches: int) -> Any:  # noqa: ANN401 - khive's own type
        """Create a session of that many branches; the orchestrator that holds it."""
        orchestrator = await self.create()
        for _ in range(branches - 1):
            orchestrator.new_orc_branch()
        return orchestrator

    def saved(self, orchestrator: Any) -> dict[str, Any]:  # noqa: ANN401 - khive's own type
        """Return the newest file `save_json` wrote for this session; LostSessionError when there is none."""
        folder = self._repository / ".khive" / "workspaces" / orchestrator.flow_name / "snapshots"
        files = sorted(folder.glob(f"{orchestrator.flow_name}_session_*.json"))
        if not files:
            raise LostSessionError(f"save_json wrote nothing to {folder}")
        return {**json.loads(files[-1].read_text()), "path": files[-1]}

    @measures(f"{ORCHESTRATOR}: initialize, then save_json, its file read back and compared")
    async def round_trip(self) -> None:
        """Create a session, save it, and find it on disk; LostSessionError when it is not."""
        orchestrator = await self.create()
        await orchestrator.save_json()
        if self.saved(orchestrator)["metadata"]["id"] != str(orchestrator.session.id):
            raise LostSessionError(f"the file of {orchestrator.flow_name} holds another session")

    async def to_save(self, branches: int = 1) -> Any:  # noqa: ANN401 - khive's own type
        """Return the orchestrator of a session of that many branches; KnownFaultError where none can be saved."""
        probe = await self.create()
        try:
            await probe.save_json()
        except TypeError as error:
            if "is not JSON serializable" not in str(error):
                raise
            raise KnownFaultError(f"{installed_build()}: save_json cannot write a session: {error}") from None
        return await self.create_with(branches)

    async def round_trips(self) -> Callable[[], Awaitable[None]]:
        """Return `round_trip`; KnownFaultError where no session can be saved."""
        await self.to_save()
        return self.round_trip

    async def loader(self) -> Callable[[Path], Awaitable[Any]]:
        """Return khive's `load_json`; KnownFaultError where it cannot read what `save_json` wrote."""
        from pydantic import ValidationError

        orchestrator = await self.to_save()
        await orchestrator.save_json()
        load: Callable[[Path], Awaitable[Any]] = type(orchestrator).load_json
        try:
            await load(self.saved(orchestrator)["path"])
        except ValidationError as error:
            # What is known is that the graph refuses the private parts of its own piles.
            if error.title != "Graph" or {one["type"] for one in error.errors()} != {"extra_forbidden"}:
                raise
            raise KnownFaultError(
                f"{installed_build()}: load_json cannot read what save_json wrote: "
                f"{error.error_count()} validation errors for {error.title}"
            ) from None
        return load

    @cached_property
    def load_branch(self) -> Callable[[dict[str, Any]], Any]:
        """lionagi's reader of one saved branch, which `load_json` calls for each."""
        (branch,) = offered("lionagi", "Branch")
        return branch.from_dict  # type: ignore[no-any-return]

    @cached_property
    def _hook_event(self) -> Any:  # noqa: ANN401 - khive's own type
        return offered(_HOOKS, "HookEvent")[0]

    def hook_event(self, session: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return a hook event of that session that has not been saved."""
        content = {"event_type": "pre_command", "tool_name": "Bash", "command": "ls", "session_id": session}
        return self._hook_event(content=content)

    @cached_property
    def save_event(self) -> Callable[[Any], Awaitable[Any]]:
        """khive's writer of one hook event."""
        return self._hook_event.save  # type: ignore[no-any-return]

    @cached_property
    def all_events(self) -> Callable[[], Awaitable[list[Any]]]:
        """khive's reader of all hook events."""
        return self._hook_event.get_all  # type: ignore[no-any-return]

    async def events_reader(self) -> Callable[[str], Awaitable[list[Any]]]:
        """Return khive's reader of one session's events; KnownFaultError where it gives those of others."""
        mine, other = uuid4().hex, uuid4().hex
        for session in (mine, other):
            await self.hook_event(session).save()
        read: Callable[[str], Awaitable[list[Any]]] = self._hook_event.get_by_session
        found = [event.content["session_id"] for event in await read(mine)]
        # What is known is that builds up to 0.4 give all events, and later ones, which ask in SQL, none.
        known = [] if hasattr(self._hook_event, "_execute_raw_sql_query") else [mine, other]
        if sorted(found) == sorted(known):
            raise KnownFaultError(
                f"{installed_build()}: get_by_session gives {found.count(mine)} of a session's own events "
                f"and {found.count(other)} of another's, where each has one"
            )
        return read

    def forget_events(self) -> None:
        """Remove the database of hook events, which is in the folder khive was started in or in its `.khive`."""
        for folder in (Path.cwd(), self._repository / ".khive"):
            (folder / "claude_hooks.db").unlink(missing_ok=True)

    @cached_property
    def service(self) -> Any:  # noqa: ANN401 - khive's own type
        """khive's `SessionService`, which the release lacks."""
        (service,) = offered(_SERVICE, "SessionService")
        return service()

    def request(self, action: str) -> Any:  # noqa: ANN401 - khive's own type
        """Return a request to the session service: "init", "status" or "end"."""
        (request,) = offered("khive.services.session.parts", "SessionRequest")
        return request(action=action)

    def leave_notes(self) -> None:
        """Leave summaries that no diary has taken up, and a diary for each of their days, as `end` works on them."""
        diaries, summaries = (self._repository / ".khive" / "notes" / name for name in ("diaries", "summaries"))
        for folder in (diaries, summaries):
            folder.mkdir(parents=True, exist_ok=True)
        for day in _DAYS:
            (diaries / f"diary_{day}.md").write_text(_DIARY)
            for hour in range(_SUMMARIES_A_DAY):
                (summaries / f"summary_{day}_{hour:02}0000.md").write_text(_SUMMARY)

    def fault(self, response: Any, summaries: int = len(_DAYS) * _SUMMARIES_A_DAY) -> str | None:  # noqa: ANN401
        """Return what is wrong with a response to "init" or "status", None when it tells what there is to tell."""
        if not response.success:
            return str(response.error)
        told = (response.git_status["branch"], len(response.pending_tasks), response.unprocessed_summaries)
        expected = (BRANCH, TASKS, summaries)
        return None if told == expected else f"branch, tasks and summaries are {told}, not {expected}"

    def inits(self) -> Callable[[], Awaitable[None]]:
        """Return an operation that begins a session by the service; LostSessionError when its answer is wrong."""
        handle, request = self.service.handle_request, self.request("init")
        self.leave_notes()

        @measures(f"{_SERVICE}.SessionService.handle_request of an init, its answer checked")
        async def init() -> None:
            if fault := self.fault(await handle(request)):
                raise LostSessionError(fault)

        return init
