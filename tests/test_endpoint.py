"""The stand-in for the model endpoint, as the process that it is."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from perf.errors import ServiceUnavailableError
from perf.services.endpoint import evaluation, running
from perf.services.planning import COMPLEX_REQUEST, SIMPLE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.services.endpoint import Endpoint

PERSONAS = [f"You are planner number {number}." for number in range(40)]


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Endpoint]:
    with running(0, {}) as endpoint:
        yield endpoint


def ask(url: str, system: str, request: str) -> bytes:
    """Return the stand-in's answer to one chat completion, as it came."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{request}\nRules."}]
    body = json.dumps({"model": "gpt-5-nano", "messages": messages})
    connection.request("POST", f"{parts.path}/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status == 200, answer
    return answer


def content(answer: bytes) -> str:
    return str(json.loads(answer)["choices"][0]["message"]["content"])


def stand_ins() -> list[psutil.Process]:
    """Return the stand-ins that this process started and that still run."""
    return [child for child in psutil.Process().children() if "perf.services.endpoint" in child.cmdline()]


def test_it_answers_the_same_every_time(stand_in: Endpoint) -> None:
    """The same question gets the same bytes, and another persona another answer."""
    first, again = (ask(stand_in.url, PERSONAS[0], SIMPLE_REQUEST) for _ in range(2))
    others = {content(ask(stand_in.url, persona, SIMPLE_REQUEST)) for persona in PERSONAS[:8]}

    assert first == again
    assert len(others) > 1


def test_it_answers_in_the_shape_of_a_chat_completion(stand_in: Endpoint) -> None:
    """The answer has what an OpenAI client reads: model, one finished choice, and the tokens used."""
    answer = json.loads(ask(stand_in.url, PERSONAS[0], SIMPLE_REQUEST))

    assert (answer["object"], answer["model"]) == ("chat.completion", "gpt-5-nano")
    (choice,) = answer["choices"]
    assert (choice["finish_reason"], choice["message"]["role"]) == ("stop", "assistant")
    used = answer["usage"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"] > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # khive's own, when it is imported
@pytest.mark.parametrize("request_text", [SIMPLE_REQUEST, COMPLEX_REQUEST, "", "word " * 5000], ids=len)
def test_every_answer_is_one_khive_accepts(request_text: str) -> None:
    """khive's own evaluation model, which forbids what it does not know, takes the answer of every persona."""
    from khive.services.plan.models import OrchestrationEvaluation

    for persona in PERSONAS:
        answer = evaluation(persona, request_text)

        assert OrchestrationEvaluation.model_validate(answer).model_dump() == answer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # khive's own, when it is imported
def test_what_is_served_is_that_evaluation(stand_in: Endpoint) -> None:
    """What comes over HTTP is the evaluation of the persona and of the request's first line."""
    from khive.services.plan.models import OrchestrationEvaluation

    served = OrchestrationEvaluation.model_validate_json(content(ask(stand_in.url, PERSONAS[3], COMPLEX_REQUEST)))

    assert served.model_dump() == evaluation(PERSONAS[3], COMPLEX_REQUEST)


def test_a_longer_request_is_answered_as_harder() -> None:
    """A complex request gets more agents, more rounds and a harder rating than a simple one."""
    simple, hard = (evaluation(PERSONAS[0], text) for text in (SIMPLE_REQUEST, COMPLEX_REQUEST))

    assert simple["complexity"] == "simple" != hard["complexity"]
    assert hard["total_agents"] > simple["total_agents"]
    assert hard["rounds_needed"] > simple["rounds_needed"]


def test_it_listens_on_loopback_only(stand_in: Endpoint) -> None:
    """The stand-in's one listening socket is on 127.0.0.1, at the port its URL names."""
    (process,) = stand_ins()
    listening = [one.laddr for one in process.net_connections(kind="inet") if one.status == psutil.CONN_LISTEN]

    assert [tuple(address) for address in listening] == [("127.0.0.1", urlsplit(stand_in.url).port)]


def test_its_latency_is_a_setting(stand_in: Endpoint) -> None:
    """With a latency, an answer takes at least that much and several times what it takes without."""

    def fastest(endpoint: Endpoint) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            ask(endpoint.url, PERSONAS[0], SIMPLE_REQUEST)
            times.append(time.perf_counter() - start)
        return min(times)

    with running(0.05, {}) as slow:
        assert fastest(slow) >= 0.05
        assert fastest(slow) > 2 * fastest(stand_in)
        assert "latency 0.05 s" in slow.description


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt])
def test_it_ends_when_the_work_ends_badly(ending: type[BaseException]) -> None:
    """Leaving by an exception ends the stand-in's process, as leaving in peace does."""
    before = stand_ins()

    with pytest.raises(ending), running(0, {}):  # noqa: PT012 - how the block ends is the test
        (process,) = [one for one in stand_ins() if one not in before]
        raise ending

    assert not process.is_running()
    assert stand_ins() == before


def test_it_ends_with_its_parent() -> None:
    """When the parent is gone, however it went, the pipe closes and the stand-in ends by itself."""
    command = [sys.executable, "-m", "perf.services.endpoint", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        url = process.stdout.readline().strip()
        assert content(ask(url, PERSONAS[0], SIMPLE_REQUEST))

        try:
            process.stdin.close()

            assert process.wait(timeout=10) == 0
        finally:
            process.kill()


def test_a_named_endpoint_is_used_instead() -> None:
    """PERF_MODEL_URL starts nothing and is called a real endpoint, so no one takes it for a stand-in."""
    before = stand_ins()

    with running(0.05, {"PERF_MODEL_URL": "http://127.0.0.1:9/v1"}) as endpoint:
        assert endpoint.url == "http://127.0.0.1:9/v1"
        assert "not a stand-in" in endpoint.description
        assert stand_ins() == before


def test_a_named_endpoint_is_described_without_its_password() -> None:
    """The description is printed and saved, so it never holds what the URL logs in with."""
    with running(0, {"PERF_MODEL_URL": "https://user:secret@model.example.org/v1?api-key=secret"}) as endpoint:
        assert "model.example.org" in endpoint.description
        assert "secret" not in endpoint.description


def test_its_environment_points_a_client_at_it(stand_in: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of an OpenAI client name the URL and the user's key, or a word where there is none."""

    def key() -> dict[str, Any]:
        assert stand_in.environment["OPENAI_BASE_URL"] == stand_in.url
        return {"key": stand_in.environment["OPENAI_API_KEY"]}

    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    assert key() == {"key": "mine"}
    monkeypatch.delenv("OPENAI_API_KEY")
    assert key() == {"key": "stand-in"}


def test_one_that_does_not_start_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in whose process ends without a URL is one of the suite's own errors."""
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(ServiceUnavailableError, match="did not start"), running(0, {}):
        pytest.fail("nothing is running")
