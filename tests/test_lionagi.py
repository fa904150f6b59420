"""What the suite sets in lionagi, with lionagi's own models and branches."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

from perf.services import endpoint, lionagi
from perf.services.planning import COMPLEX_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perf.services.endpoint import Endpoint

OPENROUTER = "https://openrouter.ai/api/v1"
LEAVES_A_LOG = """
from lionagi.protocols.generic.log import Log
from lionagi.session.branch import Branch
from perf.services import lionagi

Branch()._log_manager.log(Log(content={"one": 1}))
"""


class DecompositionCandidate(BaseModel):
    """What khive reads of a draft; the name is what it asks for."""

    reasoning: str
    phases: list[dict[str, Any]]
    estimated_complexity: Literal["simple", "medium", "complex", "very_complex"]
    parallelizable_groups: list[list[str]]


class ComparisonResult(BaseModel):
    """What khive reads of a comparison; the name is what it asks for."""

    winner: str
    confidence: float
    reasoning: str


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Endpoint]:
    with endpoint.running(0, {}) as running:
        yield running


def openrouter() -> Any:  # noqa: ANN401 - lionagi's own type
    """Return the model of lionagi's provider "openrouter", as khive makes it."""
    from lionagi import iModel

    return iModel(provider="openrouter", model="google/gemini-2.0-flash-001")


def where(model: Any) -> tuple[str, str]:  # noqa: ANN401 - lionagi's own type
    return model.endpoint.config.base_url, model.endpoint.config._api_key  # noqa: SLF001 - it has no public name


def test_openrouter_is_where_it_is_said_to_be() -> None:
    """Inside, the provider has the URL and the key it was given; outside, its own again, however the work ended."""
    own = where(openrouter())

    with pytest.raises(KeyboardInterrupt), lionagi.openrouter_at("http://127.0.0.1:9/v1", "mine"):  # noqa: PT012
        assert where(openrouter()) == ("http://127.0.0.1:9/v1", "mine")
        raise KeyboardInterrupt

    assert where(openrouter()) == own
    assert own[0] == OPENROUTER


async def test_the_stand_in_answers_as_lionagi_asks(stand_in: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft and a comparison come back through a branch as the types they were asked for in, with their content."""
    from lionagi import Branch
    from lionagi.settings import Settings

    monkeypatch.setitem(Settings.Config.LOG, "auto_save_on_exit", value=False)
    with lionagi.openrouter_at(stand_in.url, "any"):
        draft = await Branch(chat_model=openrouter()).operate(
            instruction=f"Decompose.\n\nTASK: {COMPLEX_REQUEST}",
            response_format=DecompositionCandidate,
            temperature=0.2,
        )
        compared = await Branch(chat_model=openrouter()).operate(
            instruction=f"You are an expert with the role of quality_judge.\n\nORIGINAL TASK: {COMPLEX_REQUEST}",
            response_format=ComparisonResult,
            temperature=0.3,
        )

    assert isinstance(draft, DecompositionCandidate)
    assert draft.phases[1]["description"].endswith(COMPLEX_REQUEST)
    assert isinstance(compared, ComparisonResult)
    assert compared.model_dump() == endpoint.comparison("quality_judge")


@pytest.mark.parametrize(("last", "left"), [("", 1), ("lionagi.forget_logs()", 0)])
def test_logs_need_not_be_written_at_exit(tmp_path: Path, last: str, left: int) -> None:
    """A branch leaves a log where the process exits, and none once its logs are forgotten."""
    script = f"{LEAVES_A_LOG}{last}\n"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True)

    assert len(list(tmp_path.rglob("*.json"))) == left
