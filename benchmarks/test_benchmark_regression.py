"""The present run against the saved ones: nothing became slower, and no benchmark has dropped out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf.judge.comparison import INCONCLUSIVE, REGRESSED
from perf.report.judgement import change_in_words
from perf.session import performance_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.changes import Change
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


def test_nothing_became_slower(present_changes: Sequence[Change]) -> None:
    """No operation is slower than its history explains by more than the profile's tolerance.

    What has too short a history, or too noisy a one, has no verdict here; `invoke release-gate` passes nothing over.
    """
    judged = [one for one in present_changes if one.comparison and one.verdict != INCONCLUSIVE]
    if not judged:
        pytest.skip("no operation has a history that could tell: five runs on this machine, with these settings")
    slower = [change_in_words(one) for one in judged if one.verdict == REGRESSED]

    if slower:
        pytest.fail(f"slower than before: {'; '.join(slower)}", pytrace=False)
