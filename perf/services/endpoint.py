"""A stand-in for the model endpoint: OpenAI-compatible, on loopback, deterministic, in a process of its own.

Its process is not the measured one, so its work does not compete for the measured interpreter's lock.
Run as `python -m perf.services.endpoint LATENCY_SECONDS`: it prints its URL and serves until standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
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
_LONG_REQUEST_WORDS = 20


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
    lean = zlib.crc32(system.encode()) % len(_ROLES)
    long = len(request.split()) > _LONG_REQUEST_WORDS
    roles = (_ROLES[lean:] + _ROLES[:lean])[: 7 if long else 3]
    return {
        "complexity": "very_complex" if long and lean % 2 else "complex" if long else "simple",
        "complexity_reason": "Weighed by the number of parts that must change together.",
        "total_agents": len(roles) + lean % 3,
        "agent_reason": "One agent for each role that adds something.",
        "rounds_needed": 3 if long else 1,
        "role_priorities": list(roles),
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


def answer_to(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a chat request: a persona's evaluation, or the least that its JSON schema allows."""
    texts = {message["role"]: str(message["content"]) for message in body["messages"]}
    wanted = body.get("response_format", {}).get("json_schema", {})
    if "schema" in wanted and wanted["name"] != "OrchestrationEvaluation":
        return _least(wanted["schema"], wanted["schema"].get("$defs", {}))  # type: ignore[no-any-return]
    return evaluation(texts.get("system", ""), texts.get("user", "").partition("\n")[0])


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
