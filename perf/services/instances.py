"""Instances of khive's services: each in a process and a repository of its own, all with one Redis and one model."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from perf.services import cache, planning
from perf.services.artifacts import Artifacts, round_trips
from perf.services.integration import Services
from perf.services.orchestration import Orchestration
from perf.services.repository import furnish, variables
from perf.services.session import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from perf.services.redis_server import RedisServer

    Operation = Callable[[], Awaitable[object]]

_BYTES = 1024


@asynccontextmanager
async def opened(service: str, repository: Path, redis: RedisServer) -> AsyncIterator[Operation]:
    """Give an operation of `service`, which was done once; it is closed with all that was opened for it."""
    async with AsyncExitStack() as stack:
        operation = await _operation(service, repository, redis, stack)
        await operation()
        yield operation


@asynccontextmanager
async def instance(service: str, folder: Path, redis: RedisServer, latency_seconds: float) -> AsyncIterator[Operation]:
    """Make this process, which has not imported khive yet, an instance of `service`; give what `opened` does.

    It gets a repository of its own in `folder`, as instances on machines of their own have, and works there: two in one
    would overwrite each other's files.
    """
    own = folder / f"instance-{os.getpid()}"
    own.mkdir()
    furnish(own, latency_seconds)
    os.environ.update(variables(own, os.environ))
    os.chdir(own)
    async with opened(service, own, redis) as operation:
        yield operation


async def _operation(service: str, repository: Path, redis: RedisServer, stack: AsyncExitStack) -> Operation:
    match service:
        case "orchestration":
            return Orchestration(repository).checked_branch
        case "planning":
            return (await stack.enter_async_context(planning.opened())).whole_plans(planning.SIMPLE_REQUEST)
        case "session":
            return await Sessions(repository).round_trips()
        case "artifacts":
            return round_trips(await Artifacts(repository).documents(), "x" * _BYTES)
        case "cache":
            return (await stack.enter_async_context(cache.opened(redis))).round_trips(_BYTES)
        case "integration":
            plans = await stack.enter_async_context(planning.opened())
            plan_cache = await stack.enter_async_context(cache.opened(redis))
            documents = await Artifacts(repository).documents()
            return Services(plans, plan_cache, Sessions(repository), documents).request
    raise ValueError(f"{service} is no service of khive's")
