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
from perf.services.endpoint import answer_to, comparison, decomposition, evaluation, running, strategy, triage_vote
from perf.services.planning import COMPLEX_REQUEST, SIMPLE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.services.endpoint import Endpoint

PERSONAS = [f"You are planner number {number}." for number in range(40)]
REQUESTS = [SIMPLE_REQUEST, COMPLEX_REQUEST, "", "word " * 5000]
COMPLEXITIES = {"simple", "medium", "complex", "very_complex"}


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Endpoint]:
    with running(0, {}) as endpoint:
        yield endpoint


def ask(url: str, system: str, request: str, **form: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Return the stand-in's answer to one chat completion, as it came."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{request}\nRules."}]
    body = json.dumps({"model": "gpt-5-nano", "messages": messages} | form)
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
@pytest.mark.parametrize("request_text", REQUESTS, ids=len)
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


@pytest.mark.parametrize("request_text", REQUESTS, ids=len)
def test_every_vote_is_one_triage_accepts(request_text: str) -> None:
    """A vote has the fields of khive's `TriageVote`, no other, within its bounds, and no agents when complex."""
    for persona in PERSONAS:
        vote = triage_vote(persona, request_text)

        assert set(vote) == {
            "complexity", "confidence", "reasoning", "recommended_agents", "suggested_roles", "suggested_domains"
        }  # fmt: skip
        assert 0 <= vote["confidence"] <= 1
        assert len(vote["reasoning"]) <= 200
        agents = (1, 2, 3) if vote["complexity"] == "simple" else (0,)
        assert vote["recommended_agents"] == len(set(vote["suggested_roles"])) in agents
        assert len(vote["suggested_domains"]) == (vote["complexity"] == "simple")


def test_triage_sends_only_the_complex_on() -> None:
    """Every vote on the simple request is "simple" and every vote on the complex one "complex"."""
    votes = {text: {triage_vote(persona, text)["complexity"] for persona in PERSONAS} for text in REQUESTS[:2]}

    assert votes == {SIMPLE_REQUEST: {"simple"}, COMPLEX_REQUEST: {"complex"}}


def test_a_json_object_is_a_vote(stand_in: Endpoint) -> None:
    """Asked for a JSON object, as triage asks, the stand-in votes on the request's first line."""
    served = content(ask(stand_in.url, PERSONAS[3], COMPLEX_REQUEST, response_format={"type": "json_object"}))

    assert json.loads(served) == triage_vote(PERSONAS[3], COMPLEX_REQUEST)


@pytest.mark.parametrize("lean", range(8))
@pytest.mark.parametrize("request_text", REQUESTS, ids=len)
def test_every_draft_is_one_khive_accepts(request_text: str, lean: int) -> None:
    """A draft names phases that depend on phases before them, and a complexity that khive knows."""
    draft = decomposition(request_text, lean)

    assert draft["estimated_complexity"] in COMPLEXITIES
    names = [phase["name"] for phase in draft["phases"]]
    assert len(set(names)) == len(names)
    for number, phase in enumerate(draft["phases"]):
        assert set(phase["dependencies"]) <= set(names[:number])


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("lean", range(8))
@pytest.mark.parametrize("request_text", REQUESTS, ids=len)
def test_every_strategy_is_one_khive_accepts(request_text: str, lean: int, *, refined: bool) -> None:
    """A strategy has agents for each phase, few enough for khive to keep, and says how many they are."""
    answer = strategy(request_text, lean, refined=refined)

    agents = [agent for phase in answer["phases"] for agent in phase["agents"]]
    assert all(phase["agents"] for phase in answer["phases"])
    assert all(len(phase["agents"]) <= 2 for phase in answer["phases"])
    assert answer["estimated_agents"] == len(agents) <= 8
    assert all(0 <= agent["priority"] <= 1 for agent in agents)
    assert {phase["quality_gate"] for phase in answer["phases"]} <= {"basic", "thorough", "critical"}
    assert {phase["coordination_strategy"] for phase in answer["phases"]} <= {"sequential_refinement", "autonomous"}


def test_only_a_refined_plan_has_three_phases() -> None:
    """A strategy has the phases of the draft, fewer than khive demands; refining adds what is missing."""
    draft = [phase["name"] for phase in decomposition(COMPLEX_REQUEST, 0)["phases"]]
    names = {
        refined: [phase["name"] for phase in strategy(COMPLEX_REQUEST, 0, refined=refined)["phases"]]
        for refined in (False, True)
    }

    assert names[False] == draft == names[True][:2]
    assert len(names[True]) == 3


def test_the_judges_disagree() -> None:
    """Of khive's three judges two prefer one plan and one the other, so a ranking is neither tied nor unanimous."""
    votes = [comparison(judge) for judge in ("architect_judge", "quality_judge", "coordination_judge")]

    assert sorted(vote["winner"] for vote in votes) in (["A", "A", "B"], ["A", "B", "B"])
    assert all(0 <= vote["confidence"] <= 1 for vote in votes)


def wanted(name: str, prompt: str, temperature: float = 0.2) -> dict[str, Any]:
    """Return the answer to a prompt as lionagi writes it, which asks for `name` in its text."""
    text = f"## INSTRUCTION:\n\n  {prompt}\n\n## RESPONSE SCHEMA INFO:\n\n  - title: {name}\n  - type: object\n"
    return answer_to({"messages": [{"role": "user", "content": text}], "temperature": temperature})


def test_what_lionagi_asks_for_is_told_by_its_prompt() -> None:
    """Draft, strategy, refined strategy and comparison are each recognised, with the request they are for."""
    task = f"TASK: {COMPLEX_REQUEST}"

    assert wanted("DecompositionCandidate", task)["phases"][0]["description"].endswith(COMPLEX_REQUEST)
    assert len(wanted("StrategyCandidate", f"TASK CONTEXT: {COMPLEX_REQUEST}")["phases"]) == 2
    assert len(wanted("StrategyCandidate", f"a master plan refiner\n ORIGINAL {task}")["phases"]) == 3
    judge = wanted("ComparisonResult", f"evaluator with the role of quality_judge.\n ORIGINAL {task}")
    assert judge == comparison("quality_judge")


def test_the_drafts_of_one_request_differ() -> None:
    """At the temperatures khive asks with, the drafts are the same every time and not all alike."""
    drafts = [
        [wanted("DecompositionCandidate", f"TASK: {COMPLEX_REQUEST}", heat) for heat in (0.2, 0.5, 0.8)]
        for _ in range(2)
    ]

    assert drafts[0] == drafts[1]
    assert len({str(draft) for draft in drafts[0]}) > 1


def test_it_mends_no_answer() -> None:
    """Asked to reformat what could not be read, it invents no part of a plan, so that the failure shows."""
    answer = wanted("StrategyCandidate", "Reformat this text into the model: sorry, no")

    assert "phases" not in answer


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
