"""A stand-in for the model endpoint: OpenAI-compatible, on loopback, deterministic, in a process of its own.

Its process is not the measured one, so its work does not compete for the measured interpreter's lock.
Run as `python -m perf.services.endpoint LATENCY_SECONDS`: it prints its URL and serves until standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perf.errors import ServiceUnavailableError
from perf.services.url import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp import web

URL_VARIABLE = "PERF_MODEL_URL"
KEY_VARIABLE = "OPENAI_API_KEY"

_ROLES = ("researcher", "analyst", "architect", "implementer", "tester", "critic", "reviewer", "auditor")
_DOMAINS = ("distributed-systems", "async-programming", "software-architecture")
_PHASES = ("Research and design", "Build and migrate", "Verify and roll out")
_LONG_REQUEST_WORDS = 20

# lionagi puts what it wants into the prompt, not into `response_format`.
_WANTED = re.compile(r"- title: (DecompositionCandidate|StrategyCandidate|ComparisonResult)$", re.MULTILINE)
_TASK = re.compile(r"TASK(?: CONTEXT)?: (.*)")
_JUDGE = re.compile(r"with the role of (\w+)")


class Endpoint:
    """Where khive finds its model: the URL, and what it really is, for the report."""

    def __init__(self, url: str, description: str) -> None:
        self.url = url
        self.description = description

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point an OpenAI client at this endpoint."""
        return {"OPENAI_BASE_URL": self.url, KEY_VARIABLE: os.environ.get(KEY_VARIABLE) or "stand-in"}


@contextmanager
def running(latency_seconds: float, environ: Mapping[str, str]) -> Iterator[Endpoint]:
    """Give the endpoint PERF_MODEL_URL names, else a stand-in that answers after `latency_seconds`."""
    if environ.get(URL_VARIABLE):
        yield Endpoint(environ[URL_VARIABLE], f"real endpoint {redacted(environ[URL_VARIABLE])}, not a stand-in")
        return
    command = [sys.executable, "-m", "perf.services.endpoint", str(latency_seconds)]
    pipe = subprocess.PIPE
    # In a process group of its own, so that Ctrl-C reaches us alone and the tests can still clean up behind them.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, process_group=0) as process:  # noqa: S603
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise ServiceUnavailableError(
                    "the stand-in for the model endpoint did not start: see its message above"
                )
            yield Endpoint(url, f"stand-in on loopback, latency {latency_seconds:g} s")
        finally:
            process.terminate()


def evaluation(system: str, request: str) -> dict[str, Any]:
    """Return the one answer a planner persona (`system`) gives to `request`, as khive's planner expects it.

    Personas differ as they do in use, so that consensus has something to settle: each leans to its own
    agent count, first role and confidence, derived from its prompt and from nothing else.
    """
    lean, long = _lean(system), _is_long(request)
    roles = _roles(lean, 7 if long else 3)
    return {
        "complexity": _complexity(lean, long=long),
        "complexity_reason": "Weighed by the number of parts that must change together.",
        "total_agents": len(roles) + lean % 3,
        "agent_reason": "One agent for each role that adds something.",
        "rounds_needed": 3 if long else 1,
        "role_priorities": roles,
        "primary_domains": list(_DOMAINS[: 1 + long]),
        "domain_reason": "The parts named in the request.",
        "workflow_pattern": "hybrid" if long else "parallel",
        "workflow_reason": "Research first, then build side by side." if long else "The parts are independent.",
        "quality_level": "thorough" if long else "basic",
        "quality_reason": "In proportion to what a fault would cost.",
        "rules_applied": ["complexity_assessment", "agent_role_selection"],
        "confidence": 0.7 + 0.03 * lean,
        "summary": f"{roles[0]} leads, {len(roles)} roles in all.",
    }


def triage_vote(system: str, request: str) -> dict[str, Any]:
    """Return the vote a triage perspective (`system`) gives on `request`, as khive's two-tier planner expects it."""
    lean, long = _lean(system), _is_long(request)
    roles = [] if long else _roles(lean, 1 + lean % 3)
    return {
        "complexity": "complex" if long else "simple",
        "confidence": 0.7 + 0.03 * lean,
        "reasoning": "Weighed by the number of parts that must change together.",
        "recommended_agents": len(roles),
        "suggested_roles": roles,
        "suggested_domains": [] if long else [_DOMAINS[lean % len(_DOMAINS)]],
    }


def decomposition(request: str, lean: int) -> dict[str, Any]:
    """Return `request` cut into phases, as khive's multi-round planner expects it of a decomposer.

    Two phases, one fewer than that planner demands of a finished plan: three show that its refiner answered.
    """
    return {
        "reasoning": "Each phase needs what the one before it found.",
        "phases": [
            {"name": name, "description": f"{name}: {request}", "dependencies": list(_PHASES[:number][-1:])}
            for number, name in enumerate(_PHASES[:2])
        ],
        "estimated_complexity": _complexity(lean, long=_is_long(request)),
        "parallelizable_groups": [],
    }


def strategy(request: str, lean: int, *, refined: bool) -> dict[str, Any]:
    """Return the agents for each phase of `request`, as khive's multi-round planner expects it.

    A strategist allots the two phases it was given; the refiner (`refined`) adds the third.
    """
    long = _is_long(request)
    names = _PHASES[: 3 if refined else 2]
    roles = _roles(lean, 6 if long else 3)
    return {
        "reasoning": f"{roles[0]} leads.",
        "phases": [
            {
                "name": name,
                "description": f"{name}: {request}",
                "agents": [
                    {"role": role, "domain": _DOMAINS[number], "priority": 0.9, "reasoning": "It adds something."}
                    for role in roles[number :: len(_PHASES)]
                ],
                "dependencies": list(_PHASES[:number][-1:]),
                "quality_gate": "thorough" if long else "basic",
                "coordination_strategy": "sequential_refinement" if long else "autonomous",
                "expected_artifacts": [f"{name.split()[0].lower()}.md"],
            }
            for number, name in enumerate(names)
        ],
        "coordination_rationale": "Each phase hands its artifact to the next.",
        "estimated_agents": sum(len(roles[number :: len(_PHASES)]) for number in range(len(names))),
    }


def comparison(judge: str) -> dict[str, Any]:
    """Return which of two plans `judge` prefers: judges differ, so that consensus has something to settle."""
    lean = _lean(judge)
    return {
        "winner": "AB"[lean // 2 % 2],
        "confidence": 0.7 + 0.03 * lean,
        "reasoning": "It meets the request with fewer hand-overs.",
    }


def answer_to(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a chat request, in the form it asks for.

    That is a persona's evaluation, a triage vote, a part of a multi-round plan, or the least that its JSON schema
    allows.
    """
    texts = {message["role"]: str(message["content"]) for message in body["messages"]}
    system, user = texts.get("system", ""), texts.get("user", "")
    request = user.partition("\n")[0]
    form = body.get("response_format", {})
    if form.get("type") == "json_object":
        return triage_vote(system, request)
    wanted = form.get("json_schema", {})
    if "schema" in wanted and wanted["name"] != "OrchestrationEvaluation":
        return _least(wanted["schema"], wanted["schema"].get("$defs", {}))  # type: ignore[no-any-return]
    part, task = _WANTED.search(user), _TASK.search(user)
    # Without the task it is lionagi asking to mend an answer it could not read: that must stay a failure.
    if part and task:
        return _part(part[1], task[1], user, body.get("temperature"))
    return evaluation(system, request)


def _part(name: str, request: str, prompt: str, temperature: float | None) -> dict[str, Any]:
    """Return the part of a multi-round plan for `request` that lionagi names in `prompt`."""
    if name == "ComparisonResult":
        return comparison("".join(_JUDGE.findall(prompt)[:1]))
    lean = _lean(f"{temperature} {prompt}")
    if name == "DecompositionCandidate":
        return decomposition(request, lean)
    return strategy(request, lean, refined="plan refiner" in prompt)


def _lean(text: str) -> int:
    return zlib.crc32(text.encode()) % len(_ROLES)


def _is_long(request: str) -> bool:
    return len(request.split()) > _LONG_REQUEST_WORDS


def _roles(lean: int, count: int) -> list[str]:
    return list((_ROLES[lean:] + _ROLES[:lean])[:count])


def _complexity(lean: int, *, long: bool) -> str:
    return "very_complex" if long and lean % 2 else "complex" if long else "simple"


def _least(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Return the smallest value a JSON schema allows, taking its first choice where it offers several."""
    if "$ref" in schema:
        return _least(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for choices in ("enum", "anyOf", "oneOf", "allOf"):
        if choices in schema:
            first = schema[choices][0]
            return first if choices == "enum" else _least(first, definitions)
    if "const" in schema:
        return schema["const"]
    simple = {
        "string": "x" * schema.get("minLength", 1),
        "integer": schema.get("minimum", 0),
        "number": schema.get("minimum", 0),
        "array": [_least(schema["items"], definitions)] * schema.get("minItems", 0) if "items" in schema else [],
        "object": {key: _least(part, definitions) for key, part in schema.get("properties", {}).items()},
    }
    return simple.get(schema.get("type", "null"), False if schema.get("type") == "boolean" else None)


def _completion(body: Mapping[str, Any]) -> dict[str, Any]:
    answer = json.dumps(answer_to(body))
    sent = sum(len(str(message["content"])) for message in body["messages"])
    used = {"prompt_tokens": sent // 4, "completion_tokens": len(answer) // 4}
    return {
        "id": "stand-in",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}],
        "usage": {**used, "total_tokens": sum(used.values())},
    }


async def _serve(latency_seconds: float) -> None:
    from aiohttp import web

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        if latency_seconds:
            await asyncio.sleep(latency_seconds)
        return web.json_response(_completion(body))

    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}/v1", flush=True)  # noqa: T201 - the parent process reads it
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
