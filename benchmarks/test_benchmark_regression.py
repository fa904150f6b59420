"""The present run against the last one of its profile: no benchmark has dropped out.

Whether one became slower is not judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf.session import performance_session

if TYPE_CHECKING:
    from perf.record.run import Run


def test_nothing_is_measured_no_longer(request: pytest.FixtureRequest, last_run: Run | None) -> None:
    """A benchmark that is deleted or renamed takes its history along; that must not go unseen.

    Only services that this run measures whole are looked at. It is said once: the run that is saved now is the next
    one's last.
    """
    if last_run is None:
        pytest.skip("no run of this profile has been saved yet")
    whole = performance_session(request.config).expected_services
    before = {one.origin.test.partition("[")[0] for one in last_run.measurements if one.origin.service in whole}
    now = {item.nodeid.partition("[")[0] for item in request.session.items}

    if before - now:
        pytest.fail(f"measured on {last_run.created} and no longer: {', '.join(sorted(before - now))}", pytrace=False)
