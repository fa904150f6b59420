"""The cache of khive's planning results, in a real Redis."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
import redis

from perf.errors import ServiceUnavailableError
from perf.services import redis_server
from perf.services.build import subject_of
from perf.services.cache import WrongValueError, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from perf.services.cache import PlanCache

# khive's own warnings, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

REQUEST = {"task_description": "Add a retry.", "context": None}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A real Redis: whatever this machine has."""
    try:
        choice = redis_server.choose("installed", os.environ)
    except ServiceUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with redis_server.running(choice) as server:
        yield server.url


@pytest.fixture
async def cache(url: str) -> AsyncIterator[PlanCache]:
    async with opened(url) as cache:
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


async def test_what_is_stored_lives_as_long_as_asked(cache: PlanCache, url: str) -> None:
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


async def test_clear_deletes_its_own_keys_only(cache: PlanCache, url: str) -> None:
    """Clearing one cache leaves another cache's keys and everyone else's."""
    async with opened(url) as other:
        keys = [one.key(REQUEST | {"context": str(number)}) for one in (cache, other) for number in range(30)]
        for key in keys:
            await cache.set(key, cache.response(10))
        with redis.Redis.from_url(url) as client:
            client.set("foreign", "1", ex=60)

            await cache.clear()

            assert [key for key in keys if client.exists(key)] == keys[30:]
            assert client.delete("foreign") == 1


async def test_closing_leaves_no_key_behind(url: str) -> None:
    """A cache whose work ends in an exception has deleted its keys all the same."""
    with pytest.raises(RuntimeError):  # noqa: PT012 - how the block ends is the test
        async with opened(url) as cache:
            key = cache.key(REQUEST)
            await cache.set(key, cache.response(10))
            raise RuntimeError

    with redis.Redis.from_url(url) as client:
        assert client.exists(key) == 0


async def test_many_at_once_get_their_own(cache: PlanCache) -> None:
    """A hundred sets and gets at once each read what they wrote."""

    async def there_and_back(number: int) -> int:
        key = cache.key(REQUEST | {"context": str(number)})
        await cache.set(key, cache.response(number))
        return len((await cache.get(key)).summary)

    assert await asyncio.gather(*map(there_and_back, range(100))) == list(range(100))


async def test_subjects_say_what_is_measured(cache: PlanCache) -> None:
    """Set and get are called what they are: khive's model and redis-py, not a khive cache it does not have."""
    for operation, step in ((cache.set, "SET with EX"), (cache.get, "GET, model_validate_json")):
        subject = subject_of(operation)

        assert subject.startswith("khive's PlannerResponse as JSON through redis.asyncio (redis-py ")
        assert step in subject


async def test_a_wrong_value_is_a_failed_operation(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round trip that reads back anything but what it stored raises, so that a load test counts it as failed."""
    stored, other, key = cache.response(100), cache.response(200), cache.key({"task": 1})
    await cache.round_trip(key, stored)

    async def give_other(_: str) -> object:
        return other

    monkeypatch.setattr(cache, "get", give_other)
    with pytest.raises(WrongValueError):
        await cache.round_trip(key, stored)
