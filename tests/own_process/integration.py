"""A whole request through khive's services, and what becomes of it when one of them fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from perf.services import cache, planning
from perf.services.artifacts import Artifacts
from perf.services.claude import SYNTHESIS
from perf.services.integration import STEPS, RequestFailedError, Services
from perf.services.session import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from perf.services.redis_server import RedisServer


@pytest.fixture
async def services(khive_scratch: Path, redis_service: RedisServer) -> AsyncIterator[Services]:
    async with planning.opened() as planner, cache.opened(redis_service) as plans:
        documents = await Artifacts(khive_scratch).documents()
        yield Services(planner, plans, Sessions(khive_scratch), documents)


async def test_a_request_goes_through_every_step(services: Services) -> None:
    """A request takes its steps once each, in order, and leaves a document with the flow's synthesis."""
    steps, written = [], []
    write = services.documents.there_and_back

    @contextmanager
    def step(name: str) -> Iterator[None]:
        steps.append(name)
        yield

    async def noted(name: object, text: str) -> str:
        written.append(text)
        return await write(name, text)

    services.documents.there_and_back = noted  # type: ignore[method-assign]
    await services.request(step)

    assert tuple(steps) == STEPS
    (document,) = written
    assert SYNTHESIS in document


async def test_no_request_is_answered_from_anothers_plan(services: Services) -> None:
    """Each request stores its plan under a key of its own."""
    keys = []
    key = services.cache.key
    services.cache.key = lambda request: keys.append(key(request)) or keys[-1]  # type: ignore[func-returns-value, method-assign]

    await services.request()
    await services.request()

    assert len(set(keys)) == 2


def returns(value: object) -> Callable[..., Any]:
    async def answer(*_: object) -> object:
        return value

    return answer


@pytest.mark.parametrize(
    ("part", "method", "stand_in", "said"),
    [
        ("planning", "fault", lambda _: "the plan has no phases", "no plan: the plan has no phases"),
        ("cache", "get", returns(None), "the cache gave another plan"),
        ("documents", "there_and_back", returns(""), "the document does not hold the synthesis"),
    ],
    ids=["plan", "cache", "document"],
)
async def test_a_step_that_fails_fails_the_request(  # noqa: PLR0917 - a table of cases
    services: Services, monkeypatch: pytest.MonkeyPatch, part: str, method: str, stand_in: object, said: str
) -> None:
    """A request is an error as soon as one step did not do what the next builds on."""
    monkeypatch.setattr(getattr(services, part), method, stand_in)

    with pytest.raises(RequestFailedError, match=f"^{said}$"):
        await services.request()


async def test_a_flow_that_fails_fails_the_request(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow whose check finds a fault ends the request before anything is written."""
    monkeypatch.setattr(services.sessions.orchestration, "fault", lambda _: "1 agents worked, not two")
    monkeypatch.setattr(services.documents, "there_and_back", lambda *_: pytest.fail("written all the same"))

    with pytest.raises(RequestFailedError, match="the flow did not do its work"):
        await services.request()
