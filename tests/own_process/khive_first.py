"""khive imported at the top of a module, before the scratch repository is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import khive.services.orchestration.orchestrator  # noqa: F401 - too early, which is what is tested
import pytest

from perf.errors import MeasurementError
from perf.services.orchestration import Orchestration
from perf.services.session import Sessions

if TYPE_CHECKING:
    from pathlib import Path


def test_khive_imported_too_early_is_not_measured(khive_scratch: Path) -> None:
    """khive would work in another folder with another `claude`, so there is an error that says what to do."""
    for binding in (Orchestration, Sessions):
        with pytest.raises(MeasurementError, match=r"would work in .+ with .+: import khive inside tests") as raised:
            _ = getattr(binding(khive_scratch), "orchestration", None)
        assert f"work in {khive_scratch}" not in str(raised.value)
