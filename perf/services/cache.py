"""khive's planning results in Redis, through what the installed build has for it.

Where a build ships `CacheService`, that is measured. khive 0.4.0 ships no cache: there it is what its users would put
in that place, khive's own `PlannerResponse` under khive's own hash of its request, through redis-py.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from importlib import metadata
from itertools import cycle
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from perf.errors import NotOfferedError, ServiceUnavailableError
from perf.services.build import installed_build, measures, offered
from perf.services.url import redacted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from perf.services.redis_server import RedisServer

TTL_SECONDS = 3600
_SERVICE = ("khive.services.cache.service", "CacheService")
_PATH = f"khive's PlannerResponse as JSON through redis.asyncio (redis-py {metadata.version('redis')}): "
# More than the tasks of any profile's load. CacheService's own default is 10, and a call that finds no connection free
# it drops without a word: of 50 results set at once it keeps 10. A deployment raises it by KHIVE_REDIS_MAX_CONNECTIONS.
_CONNECTIONS = 128
_KEYS = 200


class WrongValueError(Exception):
    """The cache did not take what was set, or gave something else."""


class PlanCache:
    """khive's planning results in Redis, under keys with a prefix of this run.

    `store` and `load` are what is timed. `store(key, packed, ttl_seconds)` says whether the cache took it, and
    `load(key)` gives it back, None on a miss; a result is `packed` into what they take.
    """

    store: Callable[[str, Any, int], Awaitable[bool]]
    load: Callable[[str], Awaitable[Any]]
    round_trip: Callable[[str, Any], Awaitable[None]]
    hash_request: Callable[[dict[str, Any]], str]

    def __init__(self, client: Any, prefix: str) -> None:  # noqa: ANN401 - redis-py's client is generic
        self._client = client
        self.prefix = prefix

    @cached_property
    def _new_response(self) -> Any:  # noqa: ANN401 - khive's own type
        return offered("khive.services.plan", "PlannerResponse")[0]

    def key(self, request: dict[str, Any]) -> str:
        """Return the key of a planning request."""
        return f"{self.prefix}{self.hash_request(request)}"

    def response(self, summary_bytes: int) -> Any:  # noqa: ANN401 - khive's own type
        """Return a planning result whose summary has that many bytes; NotOfferedError when none may be so large."""
        text = "Deploy the agents in parallel. "
        return self._new_response(
            success=True,
            summary=(text * (summary_bytes // len(text) + 1))[:summary_bytes],
            complexity="medium",
            recommended_agents=4,
            phases=[],
            confidence=0.8,
        )

    def packed(self, response: Any) -> Any:  # noqa: ANN401
        """Return what `store` takes and `load` gives back for a planning result."""
        return response

    def unpacked(self, packed: Any) -> Any:  # noqa: ANN401
        """Return the planning result that was `packed`."""
        return packed

    async def set(self, key: str, response: Any, ttl_seconds: int = TTL_SECONDS) -> bool:  # noqa: ANN401
        """Store a planning result; whether the cache took it."""
        return await self.store(key, self.packed(response), ttl_seconds)

    async def get(self, key: str) -> Any:  # noqa: ANN401
        """Return the planning result under `key`, None on a miss."""
        packed = await self.load(key)
        return None if packed is None else self.unpacked(packed)

    async def lookup(self, request: dict[str, Any], response: Any) -> Callable[[], Awaitable[Any]]:  # noqa: ANN401, ARG002
        """Store a planning result under its request and return khive's look-up of it, which gives it `packed`.

        Raises NotOfferedError where the build has no cache service.
        """
        return offered(*_SERVICE)[0]  # type: ignore[no-any-return]

    def round_trips(self, summary_bytes: int) -> Callable[[], Awaitable[None]]:
        """Return an operation that stores a result and reads it back, under one of many keys in turn."""
        response = self.response(summary_bytes)
        keys = cycle(f"{self.prefix}{number}" for number in range(_KEYS))

        async def operation() -> None:
            await self.round_trip(next(keys), response)

        return operation

    async def _there_and_back(self, key: str, response: Any) -> None:  # noqa: ANN401
        """Store a planning result and read it back; WrongValueError when it is not the same.

        A result that was not taken is wrong although the same one is still there from the last time.
        """
        packed = self.packed(response)
        if not await self.store(key, packed, TTL_SECONDS):
            raise WrongValueError(f"{key} was not stored")
        if await self.load(key) != packed:
            raise WrongValueError(f"{key} holds something else")

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


class RedisPlanCache(PlanCache):
    """Planning results as JSON through redis-py, for a build that ships no cache."""

    @cached_property
    def hash_request(self) -> Callable[[dict[str, Any]], str]:  # type: ignore[override]
        """khive's hash of a request."""
        return offered("khive.utils", "sha256_of_dict")[0]  # type: ignore[no-any-return]

    @measures(_PATH + "model_dump_json, SET with EX")
    async def store(self, key: str, packed: Any, ttl_seconds: int) -> bool:  # noqa: ANN401
        """Store a planning result."""
        return bool(await self._client.set(key, packed.model_dump_json(), ex=ttl_seconds))

    @measures(_PATH + "GET, model_validate_json")
    async def load(self, key: str) -> Any:  # noqa: ANN401
        """Read a planning result."""
        stored = await self._client.get(key)
        return None if stored is None else self._new_response.model_validate_json(stored)

    @measures(_PATH + "SET with EX, then GET, compared")
    async def round_trip(self, key: str, response: Any) -> None:  # noqa: ANN401
        """Store a planning result and read it back; WrongValueError when it is not the same."""
        await self._there_and_back(key, response)


class ServicePlanCache(PlanCache):
    """Planning results through khive's own `CacheService`, whose bound methods are timed as they are."""

    def __init__(self, client: Any, prefix: str, service: Any) -> None:  # noqa: ANN401
        super().__init__(client, prefix)
        self._service = service
        self._keys_by_khive: list[str] = []
        self.store, self.load = service.set, service.get
        self.hash_request = service._generate_hash  # noqa: SLF001 - it makes the service's keys and has no public name

    def response(self, summary_bytes: int) -> Any:  # noqa: ANN401
        """Return a planning result whose summary has that many bytes; NotOfferedError when none may be so large.

        The limit is left as it is: it is the service's word on what it keeps, and no variable of khive's raises it.
        """
        limit = self._service.config.max_value_size_mb
        if summary_bytes >= limit * 1024 * 1024:  # the rest of the result comes on top
            raise NotOfferedError(f"{installed_build()} caches no value over {limit} MiB (max_value_size_mb)")
        return super().response(summary_bytes)

    def packed(self, response: Any) -> Any:  # noqa: ANN401
        """Return a planning result as plain data: of a model the service would keep its printed form only."""
        return response.model_dump(mode="json")

    def unpacked(self, packed: Any) -> Any:  # noqa: ANN401
        """Return the planning result that was `packed`."""
        return self._new_response.model_validate(packed)

    @measures(f"{'.'.join(_SERVICE)}: model_dump, set, then get, compared (max_connections {_CONNECTIONS})")
    async def round_trip(self, key: str, response: Any) -> None:  # noqa: ANN401
        """Store a planning result and read it back; WrongValueError when it is not the same."""
        await self._there_and_back(key, response)

    async def lookup(self, request: dict[str, Any], response: Any) -> Callable[[], Awaitable[Any]]:  # noqa: ANN401
        """Store a planning result under its request and return khive's look-up of it, which gives it `packed`."""
        # khive's key is a hash of the request: our prefix in there makes it no one else's.
        own = request | {"context": self.prefix}
        (keys,) = offered("khive.services.cache.models", "CacheKey")
        self._keys_by_khive.append(keys.planning_result(self.hash_request(own)))
        if not await self._service.cache_planning_result(own, self.packed(response)):
            raise WrongValueError("the planning result was not stored")
        return partial(self._service.get_planning_result, own)

    async def clear(self) -> None:
        """Delete the keys of this cache and no others."""
        await super().clear()
        for key in self._keys_by_khive:
            await self._client.unlink(key)


def service_config(new_config: Any, server: RedisServer) -> Any:  # noqa: ANN401 - khive's own types
    """Return the `CacheConfig` by which khive's CacheService reaches `server`.

    Raises ServiceUnavailableError when it cannot, and NotOfferedError on a build whose settings have other names:
    khive ignores a setting it does not know, and would talk to whatever server is on the default port.
    """
    from redis.asyncio.connection import parse_url

    place = parse_url(server.tcp_url)
    if beyond := place.keys() - {"host", "port", "db", "password"}:
        raise ServiceUnavailableError(
            "khive's CacheService connects by plain TCP, with a password at most, and "
            f"{redacted(server.tcp_url)} asks for more ({', '.join(sorted(beyond))}): "
            "name redis://[:password@]host:port/db, or no server, and one is started"
        )
    settings = {f"redis_{name}": value for name, value in place.items()} | {"max_connections": _CONNECTIONS}
    if unknown := settings.keys() - new_config.model_fields.keys():
        raise NotOfferedError(f"{installed_build()} has no cache setting {', '.join(sorted(unknown))}")
    return new_config(**settings)


def new_service(new: Any, config: Any) -> Any:  # noqa: ANN401 - khive's own types
    """Make a CacheService without its password, which it would log with every other setting, and hand that in later."""
    service = new(config.model_copy(update={"redis_password": None}))
    service.config.redis_password = config.redis_password
    return service


@asynccontextmanager
async def _service(new: Any, server: RedisServer) -> AsyncIterator[Any]:  # noqa: ANN401 - khive's own types
    (new_config,) = offered("khive.services.cache.config", "CacheConfig")
    async with new_service(new, service_config(new_config, server)) as service:
        if not await service.health_check():
            raise ServiceUnavailableError(f"khive's CacheService does not reach {server}")
        yield service


@asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[PlanCache]:
    """Give the installed build's cache on `server`; its own keys are deleted when it is closed."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(server.url, max_connections=_CONNECTIONS)
    prefix = f"khive-perf:{uuid4().hex}:"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        try:
            (new,) = offered(*_SERVICE)
        except NotOfferedError:
            cache: PlanCache = RedisPlanCache(client, prefix)
        else:
            cache = ServicePlanCache(client, prefix, await stack.enter_async_context(_service(new, server)))
        stack.push_async_callback(cache.clear)
        yield cache
