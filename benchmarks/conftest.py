"""The khive services under measurement, opened for one test each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf.services import cache as cache_service
from perf.services import planning as planning_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from perf.services.cache import PlanCache
    from perf.services.planning import Planning
    from perf.services.redis_server import RedisServer


@pytest.fixture
async def planning(khive_scratch: Path) -> AsyncIterator[Planning]:
    """khive's planning service, against the model endpoint of this run."""
    async with planning_service.opened() as service:
        yield service


@pytest.fixture
async def cache(khive_scratch: Path, redis_service: RedisServer) -> AsyncIterator[PlanCache]:
    """khive's planning results in a real Redis."""
    async with cache_service.opened(redis_service) as service:
        yield service
