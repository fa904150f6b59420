"""A judgement as JUnit XML: a test case for each limit and each change, as CI systems list them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from perf.judge.changes import NEW
from perf.judge.comparison import IMPROVED, PASSED, REGRESSED
from perf.judge.limits import BROKEN, KNOWN_FAULT, NOT_SELECTED
from perf.report.tables import actual, plain, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.judge.gate import Judgement

_FAILURES = {BROKEN, REGRESSED}
_FINE = {PASSED, IMPROVED, NEW}
_NOT_JUDGED = {KNOWN_FAULT, NOT_SELECTED}


def render_junit(judgement: Judgement) -> str:
    """Return the verdicts as XML: what broke is a failure, what has no verdict an error, so neither reads as a pass."""
    suites = Element("testsuites", name=f"khive performance: {judgement.verdict.word}")
    cases = [*_limits(judgement), *_changes(judgement), _whole(judgement)]
    suite = SubElement(
        suites,
        "testsuite",
        name=f"khive performance {judgement.profile}",
        tests=str(len(cases)),
        failures=str(sum(kind == "failure" for *_, kind, _ in cases)),
        errors=str(sum(kind == "error" for *_, kind, _ in cases)),
        skipped=str(sum(kind == "skipped" for *_, kind, _ in cases)),
    )
    for classname, name, kind, message in cases:
        case = SubElement(suite, "testcase", classname=plain(classname), name=plain(name))
        if kind:
            SubElement(case, kind, message=plain(message))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _limits(judgement: Judgement) -> Iterator[tuple[str, str, str, str]]:
    for one in judgement.limits:
        said = f"{rule(one.limit)}: {actual(one)} {one.reason}".strip()
        yield f"limits.{one.limit.service}", f"{one.limit.name} {one.limit.statistic}", _kind(one.verdict), said


def _changes(judgement: Judgement) -> Iterator[tuple[str, str, str, str]]:
    for one in judgement.changes:
        operation = one.operation
        at_once = f" {operation.concurrency} at once" if operation.kind == "load" else ""
        said = f"{one.verdict}: {one.worse:.2f} times worse" if one.worse else one.verdict
        name = f"{operation.name}{at_once} {one.metric}"
        yield f"changes.{operation.service}", name, _kind(one.verdict), f"{said} {one.reason}".strip()


def _whole(judgement: Judgement) -> tuple[str, str, str, str]:
    kind = {"failed": "failure", "inconclusive": "error"}.get(judgement.verdict.word, "")
    return "gate", "verdict", kind, judgement.verdict.sentence


def _kind(verdict: str) -> str:
    if verdict in _FAILURES:
        return "failure"
    if verdict in _FINE:
        return ""
    return "skipped" if verdict in _NOT_JUDGED else "error"
