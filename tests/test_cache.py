"""The cache of khive's planning results, in a real Redis."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from pydantic import BaseModel

from perf.errors import NotOfferedError, ServiceUnavailableError
from perf.services import cache as cache_module
from perf.services import redis_server
from perf.services.build import offered, subject_of
from perf.services.cache import (
    RedisPlanCache,
    ServicePlanCache,
    WrongValueError,
    new_service,
    opened,
    service_config,
)
from perf.services.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from perf.services.cache import PlanCache

# khive's own warnings, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

REQUEST = {"task_description": "Add a retry.", "context": None}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A real Redis: whatever this machine has."""
    try:
        choice = redis_server.choose("installed", os.environ)
    except ServiceUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with redis_server.running(choice) as server:
        yield server


@pytest.fixture
async def cache(server: RedisServer) -> AsyncIterator[PlanCache]:
    async with opened(server) as cache:
        yield cache


async def test_get_returns_what_set_stored(cache: PlanCache) -> None:
    """A stored planning result comes back equal, as khive's own type."""
    key, response = cache.key(REQUEST), cache.response(1000)

    assert await cache.set(key, response) is True

    found = await cache.get(key)
    assert found == response
    assert type(found).__module__.startswith("khive.")


async def test_a_miss_is_none(cache: PlanCache) -> None:
    """A key that was never set gives None."""
    assert await cache.get(cache.key(REQUEST)) is None


async def test_the_last_set_wins(cache: PlanCache) -> None:
    """Setting a key again replaces what was there."""
    key = cache.key(REQUEST)
    await cache.set(key, cache.response(10))

    await cache.set(key, cache.response(20))

    assert len((await cache.get(key)).summary) == 20


@pytest.mark.parametrize("size", [0, 1, 1024, 100 * 1024])
async def test_a_response_has_the_size_asked_for(cache: PlanCache, size: int) -> None:
    """A planning result to store has a summary of exactly so many bytes."""
    assert len(cache.response(size).summary.encode()) == size


async def test_keys_are_khives_hash_of_the_request(cache: PlanCache) -> None:
    """Equal requests have one key whatever their order, others another, all under this cache's prefix."""
    key = cache.key(REQUEST)

    assert key == cache.key(dict(reversed(REQUEST.items())))
    assert key != cache.key(REQUEST | {"context": "other"})
    assert key == cache.prefix + cache.hash_request(REQUEST)


async def test_what_is_stored_lives_as_long_as_asked(cache: PlanCache) -> None:
    """A stored result carries its time to live, an hour unless another is asked for."""
    hour, minute = cache.key(REQUEST), cache.key(REQUEST | {"context": "short"})

    await cache.set(hour, cache.response(10))
    await cache.set(minute, cache.response(10), ttl_seconds=60)

    assert 3_590_000 < await cache.remaining_ms(hour) <= 3_600_000
    assert 50_000 < await cache.remaining_ms(minute) <= 60_000


async def test_what_has_expired_is_a_miss(cache: PlanCache) -> None:
    """After its time to live a result is gone, and a get of it is a miss."""
    key = cache.key(REQUEST)
    await cache.set(key, cache.response(10), ttl_seconds=60)
    await cache.expire_now(key)
    await asyncio.sleep(0.02)

    assert await cache.get(key) is None
    assert await cache.remaining_ms(key) == -2


async def test_clear_deletes_its_own_keys_only(cache: PlanCache, server: RedisServer) -> None:
    """Clearing one cache leaves another cache's keys and everyone else's."""
    async with opened(server) as other:
        keys = [one.key(REQUEST | {"context": str(number)}) for one in (cache, other) for number in range(30)]
        for key in keys:
            await cache.set(key, cache.response(10))
        with redis.Redis.from_url(server.url) as client:
            client.set("foreign", "1", ex=60)

            await cache.clear()

            assert [key for key in keys if client.exists(key)] == keys[30:]
            assert client.delete("foreign") == 1


async def test_closing_leaves_no_key_behind(server: RedisServer) -> None:
    """A cache whose work ends in an exception has deleted its keys all the same."""
    with pytest.raises(RuntimeError):  # noqa: PT012 - how the block ends is the test
        async with opened(server) as cache:
            key = cache.key(REQUEST)
            await cache.set(key, cache.response(10))
            raise RuntimeError

    with redis.Redis.from_url(server.url) as client:
        assert client.exists(key) == 0


async def test_many_at_once_get_their_own(cache: PlanCache) -> None:
    """A hundred sets and gets at once each read what they wrote."""

    async def there_and_back(number: int) -> int:
        key = cache.key(REQUEST | {"context": str(number)})
        await cache.set(key, cache.response(number))
        return len((await cache.get(key)).summary)

    assert await asyncio.gather(*map(there_and_back, range(100))) == list(range(100))


def test_subjects_say_what_is_measured() -> None:
    """Without a khive cache, set and get are called what they are: khive's model and redis-py."""
    cache = RedisPlanCache(None, "prefix:")

    for operation, step in ((cache.store, "SET with EX"), (cache.load, "GET, model_validate_json")):
        subject = subject_of(operation)
        assert subject.startswith("khive's PlannerResponse as JSON through redis.asyncio (redis-py ")
        assert step in subject


async def test_a_wrong_value_is_a_failed_operation(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round trip that reads back anything but what it stored raises, so that a load test counts it as failed."""
    stored, other, key = cache.response(100), cache.response(200), cache.key({"task": 1})
    await cache.round_trip(key, stored)

    async def give_other(_: str) -> object:
        return cache.packed(other)

    monkeypatch.setattr(cache, "load", give_other)
    with pytest.raises(WrongValueError):
        await cache.round_trip(key, stored)


async def test_a_refused_value_is_a_failed_operation(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round trip whose result was not taken raises, though the same one is still there from the last time."""
    response, key = cache.response(100), cache.key({"task": 1})
    await cache.round_trip(key, response)

    async def refuse(*_: object) -> bool:
        return False

    monkeypatch.setattr(cache, "store", refuse)
    with pytest.raises(WrongValueError):
        await cache.round_trip(key, response)


@pytest.mark.skipif(find_spec("khive.services.cache") is not None, reason="this khive has a cache service")
async def test_a_build_without_a_cache_service_says_so(cache: PlanCache) -> None:
    """Looking a plan up by its request is not offered where khive ships no cache, and the reason names the module."""
    with pytest.raises(NotOfferedError, match=r"has no khive\.services\.cache"):
        await cache.lookup(REQUEST, cache.response(10))


class Settings(BaseModel):
    """Settings as khive's CacheService takes them: what it does not know it ignores."""

    redis_host: str = "localhost"
    redis_port: int = 6379
    redis_db: int = 0
    redis_password: str | None = None
    max_connections: int = 10
    max_value_size_mb: int = 1


class Service:
    """A cache service in memory, with the names and manners of khive's."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.logged = str(config)
        self.kept: dict[str, object] = {}

    async def set(self, key: str, value: object, ttl_seconds: int | None = None) -> bool:
        self.kept[key] = value
        return ttl_seconds is not None

    async def get(self, key: str) -> object:
        return self.kept.get(key)

    async def cache_planning_result(self, request: dict[str, Any], result: object) -> bool:
        return await self.set(f"plan:{self._generate_hash(request)}", result, 60)

    async def get_planning_result(self, request: dict[str, Any]) -> object:
        return await self.get(f"plan:{self._generate_hash(request)}")

    def _generate_hash(self, request: dict[str, Any]) -> str:
        return str(hash(str(sorted(request.items()))))


def at(url: str) -> RedisServer:
    return RedisServer(url="unix:///elsewhere", tcp_url=url, version="7", origin="a test")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", ("localhost", 6379, 0, None)),
        ("redis://there", ("there", 6379, 0, None)),
        ("redis://there:7000/3", ("there", 7000, 3, None)),
        ("redis://:se%2Fcret@127.0.0.1:7000", ("127.0.0.1", 7000, 0, "se/cret")),
    ],
)
def test_a_cache_service_is_sent_where_the_url_says(url: str, place: tuple[object, ...]) -> None:
    """Host, port, database and password come from the server's TCP URL, defaults from the service's own settings."""
    config = service_config(Settings, at(url))

    assert (config.redis_host, config.redis_port, config.redis_db, config.redis_password) == place


def test_a_cache_service_has_connections_for_every_load() -> None:
    """The service may open as many connections as the most tasks of a load, not the ten of its default."""
    assert service_config(Settings, at("redis://there")).max_connections >= 100


@pytest.mark.parametrize("url", ["unix:///tmp/redis.sock", "rediss://there", "redis://user:secret@there"])
def test_a_server_out_of_a_cache_services_reach_is_one_line(url: str) -> None:
    """A socket, TLS or a user name, for which the service has no setting, is refused with what to do."""
    with pytest.raises(ServiceUnavailableError, match=r"\A[^\n]+ name redis://[^\n]+\Z") as error:
        service_config(Settings, at(url))

    assert "secret" not in str(error.value)


def test_settings_a_build_does_not_know_are_not_offered() -> None:
    """A build whose settings have other names is not sent to the server on the default port instead."""

    class Renamed(BaseModel):
        redis_url: str = "redis://localhost:6379"
        max_connections: int = 10

    with pytest.raises(NotOfferedError, match=r"no cache setting redis_host, redis_port"):
        service_config(Renamed, at("redis://there:7000"))


def test_a_cache_service_never_logs_the_password() -> None:
    """The service has the password for its connections and had none when it logged its settings."""
    service = new_service(Service, Settings(redis_password="secret"))  # noqa: S106 - a made-up one

    assert service.config.redis_password == "secret"  # noqa: S105 - the same
    assert "secret" not in service.logged


def in_memory() -> ServicePlanCache:
    return ServicePlanCache(None, "prefix:", Service(Settings()))


async def test_a_cache_service_is_timed_as_it_is() -> None:
    """What is timed are the service's own bound methods, and the report calls them by their names."""
    cache = in_memory()

    assert [subject_of(operation).rpartition(".")[2] for operation in (cache.store, cache.load)] == ["set", "get"]
    assert getattr(cache.store, "__func__", None) is Service.set
    assert getattr(cache.load, "__func__", None) is Service.get


async def test_a_cache_service_gives_back_khives_own_type() -> None:
    """A result that the service keeps as plain data, with a time to live, comes back as an equal planning result."""
    cache = in_memory()
    key, response = cache.key(REQUEST), cache.response(100)

    assert await cache.set(key, response)

    assert isinstance(await cache.load(key), dict)
    assert await cache.get(key) == response
    await cache.round_trip(key, response)


def test_what_a_cache_service_does_not_keep_is_not_offered() -> None:
    """A result over the service's own limit is listed with its reason instead of timed while it is refused."""
    cache = in_memory()
    assert len(cache.response(1024 * 1024 - 1).summary) == 1024 * 1024 - 1

    with pytest.raises(NotOfferedError, match="no value over 1 MiB"):
        cache.response(1024 * 1024)


@pytest.fixture
def plan_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the build khive's `CacheKey`, which makes the keys of `Service`."""
    keys = SimpleNamespace(planning_result=lambda digest: f"plan:{digest}")
    monkeypatch.setattr(cache_module, "offered", lambda *names: (keys,) if "CacheKey" in names else offered(*names))


async def test_a_lookup_is_khives_own(plan_keys: None) -> None:
    """A look-up by request calls the service's method, and gives what was stored under that request."""
    cache = in_memory()
    response = cache.response(100)

    lookup = await cache.lookup(REQUEST, response)

    assert subject_of(lookup).endswith("Service.get_planning_result")
    assert await lookup() == cache.packed(response)


async def test_keys_that_khive_makes_are_deleted_and_no_others(server: RedisServer, plan_keys: None) -> None:
    """A look-up's key, which carries no prefix of ours, is of this run alone and gone with the rest when cleared."""

    class InRedis(Service):
        async def set(self, key: str, value: object, ttl_seconds: int | None = None) -> bool:
            return bool(await client.set(key, str(value), ex=ttl_seconds))

    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        service = InRedis(Settings())
        await service.cache_planning_result(REQUEST, "theirs")
        (theirs,) = await client.keys("plan:*")
        cache = ServicePlanCache(client, "khive-perf:one:", service)
        await cache.lookup(REQUEST, cache.response(10))
        assert len(await client.keys("plan:*")) == 2

        await cache.clear()

        assert await client.keys("plan:*") == [theirs]
        await client.delete(theirs)
