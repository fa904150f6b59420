"""A cache of khive's planning results in Redis.

khive 0.4.0 ships no cache service. What is measured is what its users would put there: khive's own
`PlannerResponse`, under the key khive's own hash gives its request, stored through redis-py.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from perf.services.build import measures, offered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PATH = f"khive's PlannerResponse as JSON through redis.asyncio (redis-py {metadata.version('redis')}): "
_CONNECTIONS = 128


class WrongValueError(Exception):
    """The cache gave something other than what was set."""


class PlanCache:
    """khive's planning results in Redis, each kept for `ttl_seconds`, under keys with a prefix of this run."""

    def __init__(self, client: Any, prefix: str) -> None:  # noqa: ANN401 - redis-py's client is generic
        (self._response,) = offered("khive.services.plan", "PlannerResponse")
        (self.hash_request,) = offered("khive.utils", "sha256_of_dict")
        self._client = client
        self.prefix = prefix

    def key(self, request: dict[str, Any]) -> str:
        """Return the key of a planning request."""
        return f"{self.prefix}{self.hash_request(request)}"

    def response(self, summary_bytes: int) -> Any:  # noqa: ANN401 - khive's own type
        """Return a planning result whose summary has that many bytes."""
        text = "Deploy the agents in parallel. "
        return self._response(
            success=True,
            summary=(text * (summary_bytes // len(text) + 1))[:summary_bytes],
            complexity="medium",
            recommended_agents=4,
            phases=[],
            confidence=0.8,
        )

    @measures(_PATH + "model_dump_json, SET with EX")
    async def set(self, key: str, response: Any, ttl_seconds: int = 3600) -> bool:  # noqa: ANN401
        """Store a planning result; whether Redis took it."""
        return bool(await self._client.set(key, response.model_dump_json(), ex=ttl_seconds))

    @measures(_PATH + "GET, model_validate_json")
    async def get(self, key: str) -> Any:  # noqa: ANN401
        """Return the planning result under `key`, None on a miss."""
        stored = await self._client.get(key)
        return None if stored is None else self._response.model_validate_json(stored)

    @measures(_PATH + "SET with EX, then GET, compared")
    async def round_trip(self, key: str, response: Any) -> None:  # noqa: ANN401
        """Store a planning result and read it back; WrongValueError when it is not the same."""
        await self.set(key, response)
        if await self.get(key) != response:
            raise WrongValueError(key)

    async def remaining_ms(self, key: str) -> int:
        """Return how many milliseconds `key` still lives; -2 when it is gone."""
        return int(await self._client.pttl(key))

    async def expire_now(self, key: str) -> None:
        """Let `key` expire at once."""
        await self._client.pexpire(key, 1)

    async def clear(self) -> None:
        """Delete the keys of this cache and no others."""
        async for key in self._client.scan_iter(match=f"{self.prefix}*", count=1000):
            await self._client.unlink(key)


@asynccontextmanager
async def opened(redis_url: str) -> AsyncIterator[PlanCache]:
    """Give a cache on the server at `redis_url`; its own keys are deleted when it is closed."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(redis_url, max_connections=_CONNECTIONS)
    cache = PlanCache(client, f"khive-perf:{uuid4().hex}:")
    try:
        yield cache
    finally:
        try:
            await cache.clear()
        finally:
            await client.aclose()
