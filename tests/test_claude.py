from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from perf.services.claude import ANALYSIS, SYNTHESIS, agent_requests, flow_plan, install

if TYPE_CHECKING:
    from pathlib import Path

PLAN_FORM = "{'flow_plans': {'initial': {}}, 'reason': {}}"
PLAN_FORM_REVERSED = "{'reason': {}, 'flow_plans': {'initial': {}}}"
ANALYSIS_FORM = "{'analysis': {'context_analysis': ''}}"
ANALYSIS_FORM_LAST = "{'reason': {}, 'analysis': {}}"


def asked(program: Path, prompt: str) -> list[dict[str, Any]]:
    """Return the events `claude` answers a prompt with, called as lionagi calls it."""
    command = [str(program), "-p", prompt, "--output-format", "stream-json", "--model", "sonnet"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def fenced(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what stands in the fenced JSON of a text."""
    return json.loads(text.partition("```json\n")[2].partition("\n```")[0])


@pytest.mark.parametrize("form", [PLAN_FORM, PLAN_FORM_REVERSED])
def test_who_asks_for_a_plan_gets_one(tmp_path: Path, form: str) -> None:
    """Wherever in the response format the plans stand, the answer is a plan of two agents."""
    *_, result = asked(install(tmp_path), f"Plan the work.\nReturn {form}")

    assert fenced(result["result"])["flow_plans"] == {"initial": flow_plan(2)}


@pytest.mark.parametrize("form", [ANALYSIS_FORM, ANALYSIS_FORM_LAST])
def test_who_asks_for_an_analysis_gets_one(tmp_path: Path, form: str) -> None:
    """Wherever in the response format the analysis stands, the answer is an analysis."""
    *_, result = asked(install(tmp_path), f"Do your part.\nReturn {form}")

    assert fenced(result["result"]) == {"analysis": ANALYSIS}


@pytest.mark.parametrize("prompt", ["Put it together.", "Speak of flow_plans and of an analysis: in plain words."])
def test_who_asks_for_no_form_gets_text(tmp_path: Path, prompt: str) -> None:
    """Without a response format the answer is plain text, also when the prompt mentions what other formats have."""
    *_, result = asked(install(tmp_path), prompt)

    assert result["result"] == SYNTHESIS


def test_an_answer_is_a_stream_of_events(tmp_path: Path) -> None:
    """Like the real program it gives a line of JSON for the start, the message and the result, all of one session."""
    start, message, result = asked(install(tmp_path), "Hello.")

    assert [start["type"], message["type"], result["type"]] == ["system", "assistant", "result"]
    assert message["message"]["content"] == [{"type": "text", "text": result["result"]}]
    assert result["is_error"] is False
    assert {start["session_id"], message["session_id"], result["session_id"]} == {"stand-in"}


def test_it_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    """A latency passes before the answer comes, and the answer is the same."""
    quick, slow = install(tmp_path / "quick"), install(tmp_path / "slow", latency_seconds=0.2)
    start = time.perf_counter()
    answer = asked(slow, "Hello.")
    took = time.perf_counter() - start

    assert took >= 0.2
    assert answer == asked(quick, "Hello.")


def test_it_works_from_any_folder(tmp_path: Path) -> None:
    """Where it is installed may have a name that a shell would take apart."""
    program = install(tmp_path / "it's $HOME & more")

    assert asked(program, "Hello.")[-1]["result"] == SYNTHESIS


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_plan_has_as_many_agents_as_asked_for(count: int) -> None:
    """Agents take turns: the first in a workspace of its own, the next in the repository, each with its own part."""
    requests = agent_requests(count)

    roles = [request["compose_request"]["role"] for request in requests]
    assert roles == ["researcher", "implementer", "researcher", "implementer", "researcher"][:count]
    assert len({request["instruct"]["instruction"] for request in requests}) == count
    assert flow_plan(count)["agent_requests"] == requests
