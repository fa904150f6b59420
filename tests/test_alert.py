from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import AlertError, UnreadableRunError
from perf.report.alert import VARIABLE, announce

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:'[a-z]+' is deprecated:DeprecationWarning")  # what apprise imports


def report(path: Path, *changes: float, name: str = "cache_set") -> Path:
    """Write a report with a regression for each of `changes`, so many times worse."""
    regressions = [
        {
            "test_name": "cache_performance",
            "operation_type": name,
            "regression_details": {
                "current_value": 0.008 * change,
                "historical_mean": 0.008,
                "relative_change": change,
                "unit": "s",
            },
        }
        for change in changes
    ]
    path.write_text(json.dumps({"regressions": regressions, "verdict": "failed" if changes else "passed"}))
    return path


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web hook on loopback: its URL for apprise, and what it received."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if "refuse" in self.path else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}/secret-token", received
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ((1.5,), "WARNING: 1 performance regression detected"),
        ((1.5, 2.0), "WARNING: 2 performance regressions detected"),
        ((1.5, 2.01, 3.0), "CRITICAL: 2 performance regressions detected"),
    ],
)
def test_without_a_url_the_alert_is_printed(tmp_path: Path, changes: tuple[float, ...], title: str) -> None:
    """Above twice as bad it is critical, else a warning; the worst comes first; and it says that nothing was sent."""
    lines = announce(report(tmp_path / "report.json", *changes), {}).splitlines()

    assert lines[0] == title
    assert (
        lines[1]
        == f"- cache_performance.cache_set: {max(changes):.2f} times worse ({8 * max(changes):.4g} ms, was 8 ms)"
    )
    assert lines[-1] == f"(not sent: {VARIABLE} is not set)"


def test_it_is_delivered(tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]) -> None:
    """The alert arrives at the URL with its level, title and text, and the URL is not in what is said."""
    url, received = hook

    said = announce(report(tmp_path / "report.json", 2.5), {VARIABLE: url})

    assert said == "Sent to 1 address: CRITICAL: 1 performance regression detected"
    assert [(one["title"], one["type"]) for one in received] == [(said.partition(": ")[2], "failure")]
    assert "cache_performance.cache_set: 2.50 times worse" in received[0]["message"]


def test_nothing_is_sent_without_a_regression(tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]) -> None:
    """A report without a regression sends nothing, and says what its verdict was."""
    url, received = hook

    said = announce(report(tmp_path / "report.json"), {VARIABLE: url})

    assert said == "Nothing sent: the report names no regression; its verdict is passed."
    assert received == []


@pytest.mark.parametrize(
    "wrong", ["nonsense://user:secret-token@host", "{hook}/refuse", "json://127.0.0.1:1/secret-token"]
)
def test_what_is_not_delivered_is_an_error_without_the_url(
    tmp_path: Path, hook: tuple[str, list[dict[str, Any]]], wrong: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A URL apprise does not know, a refusal, nobody there: one line, and the secret in the URL is nowhere."""
    url, _ = hook

    with pytest.raises(AlertError) as caught:
        announce(report(tmp_path / "report.json", 1.5), {VARIABLE: f"{url} {wrong.format(hook=url)}"})

    out, err = capfd.readouterr()
    assert "URL 2 of 2" in str(caught.value)
    assert "secret-token" not in f"{caught.value}{out}{err}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"regressions": [{"test_name": 1}]}', "\udcff"])
def test_a_report_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    """What is no report is one line that names the file."""
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")

    with pytest.raises(UnreadableRunError, match=r"report\.json: not a report of this suite"):
        announce(path, {})


def test_a_name_cannot_add_lines(tmp_path: Path) -> None:
    """A line break or an escape sequence in a name does not reach the terminal."""
    said = announce(report(tmp_path / "report.json", 1.5, name="a\n\x1b[31mVERDICT: passed"), {})

    assert len(said.splitlines()) == 3
    assert "\x1b" not in said
