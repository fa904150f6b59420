"""A stand-in for the `claude` program that khive's flows call: deterministic, offline, answering by what is asked.

It is a shell script, so that its own start-up (about 2 ms) does not drown khive's cost. The answers are files.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ANALYSIS = {
    "context_analysis": "Orders pass through one queue; the client retries without a limit.",
    "systematic_breakdown": "The client, the queue, and the worker that empties it.",
    "critical_assessment": "A retry may deliver an order twice.",
    "strategic_synthesis": "Give each order a key and drop what was seen before.",
    "quality_validation": "Confidence 8 of 10: the worker was not read in full.",
}
"""An answer that every one of khive's atomic analysis models accepts."""

SYNTHESIS = "All agents have finished: orders carry a key, and each is handled once."

_ROLES = (("researcher", "RequirementsAnalysis"), ("implementer", "FeatureImplementation"))
_DOMAINS = ("software-architecture", "async-programming")


def agent_requests(count: int) -> list[dict[str, Any]]:
    """Return khive's requests for `count` agents: by turns one in a workspace of its own, one in the repository."""
    return [
        {
            "instruct": {
                "instruction": f"Do part {number + 1} of the work.",
                "guidance": "Read before you write.",
                "context": "The orders queue.",
            },
            "compose_request": {"role": role, "domains": _DOMAINS[number % 2], "context": "The orders queue."},
            "analysis_type": analysis,
        }
        for number, (role, analysis) in ((number, _ROLES[number % 2]) for number in range(count))
    ]


def flow_plan(agents: int) -> dict[str, Any]:
    """Return a plan of khive's for that many agents at once."""
    return {
        "common_background": "Orders are lost between client and worker.",
        "agent_requests": agent_requests(agents),
        "execution_strategy": "concurrent",
    }


def install(folder: Path, latency_seconds: float = 0.0) -> Path:
    """Write the program `claude` into `folder` and return its path; it answers after `latency_seconds`.

    It tells by the response format in the prompt whether khive asks for a plan of two agents, for an agent's
    analysis or for plain text, and answers with the events of `--output-format stream-json`.
    """
    answers = folder / "claude-answers"
    answers.mkdir(parents=True)
    (answers / "plan").write_text(_events(_fenced({"flow_plans": {"initial": flow_plan(2)}, "reason": None})))
    (answers / "analysis").write_text(_events(_fenced({"analysis": ANALYSIS})))
    (answers / "text").write_text(_events(SYNTHESIS))
    program = folder / "claude"
    program.write_text(_SCRIPT.format(answers=shlex.quote(str(answers)), pause=_pause(latency_seconds)))
    program.chmod(0o755)
    return program


_SCRIPT = """\
#!/bin/sh
{pause}cd {answers} || exit 1
case "$*" in
*"'flow_plans':"*) exec cat plan ;;
*"'analysis':"*) exec cat analysis ;;
*) exec cat text ;;
esac
"""


def _pause(seconds: float) -> str:
    return f"sleep {seconds:g}\n" if seconds else ""


def _fenced(answer: dict[str, Any]) -> str:
    return f"Done.\n```json\n{json.dumps(answer)}\n```\n"


def _events(text: str) -> str:
    session = {"session_id": "stand-in"}
    usage = {"input_tokens": 0, "output_tokens": 0}
    figures = {"num_turns": 1, "duration_ms": 0, "duration_api_ms": 0, "total_cost_usd": 0.0, "usage": usage}
    message = {"role": "assistant", "content": [{"type": "text", "text": text}], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "system", "subtype": "init", "model": "stand-in", "tools": []},
        {"type": "assistant", "message": message},
        {"type": "result", "subtype": "success", "result": text, "is_error": False, **figures},
    ]
    return "".join(json.dumps(event | session) + "\n" for event in events)
