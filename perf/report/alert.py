"""An alert about the regressions of a report, sent to where the user wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from perf.errors import AlertError, UnreadableRunError
from perf.report.summary import CRITICAL
from perf.report.tables import plain
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VARIABLE = "PERF_ALERT_URL"
"""Where alerts go: one or more URLs as apprise knows them, separated by spaces. They hold secrets: never printed."""


class _Details(msgspec.Struct):
    relative_change: float
    current_value: float
    historical_mean: float
    unit: str = "1"


class _Regression(msgspec.Struct):
    test_name: str
    operation_type: str
    regression_details: _Details


class _Report(msgspec.Struct):
    regressions: list[_Regression]
    verdict: str = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """What to say: `level` is "critical" or "warning"; `lines` name each regression, the worst first."""

    level: str
    title: str
    lines: tuple[str, ...]


def alert_of(report: _Report) -> Alert | None:
    """Return the alert of a report: critical when anything became more than twice as bad; None without a regression."""
    worst_first = sorted(report.regressions, key=lambda one: -one.regression_details.relative_change)
    critical = [one for one in worst_first if one.regression_details.relative_change > CRITICAL]
    if not worst_first:
        return None
    level, told = ("critical", critical) if critical else ("warning", worst_first)
    noun = "regression" if len(told) == 1 else "regressions"
    title = f"{level.upper()}: {len(told)} performance {noun} detected"
    return Alert(level=level, title=title, lines=tuple(_line(one) for one in worst_first))


def _line(regression: _Regression) -> str:
    details = regression.regression_details
    now, was = (format_quantity(value, details.unit) for value in (details.current_value, details.historical_mean))
    name = f"{regression.test_name}.{regression.operation_type}"
    return plain(f"{name}: {details.relative_change:.2f} times worse ({now}, was {was})")


def read_report(path: Path) -> _Report:
    """Return the report at `path`; UnreadableRunError when it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Report)
    except OSError as error:
        raise UnreadableRunError(f"{path}: {error.strerror}; `invoke release-gate` writes a report") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRunError(f"{path}: not a report of this suite ({error})") from None


def announce(path: Path, environ: Mapping[str, str]) -> str:
    """Send the alert of the report at `path`, or return it for the terminal where no URL is set.

    The text says what was done. AlertError when a URL is none or nothing was delivered; it never holds the URL.
    """
    report = read_report(path)
    alert = alert_of(report)
    if alert is None:
        return f"Nothing sent: the report names no regression; its verdict is {plain(report.verdict)}."
    urls = environ.get(VARIABLE, "").split()
    text = "\n".join([alert.title, *(f"- {line}" for line in alert.lines)])
    if not urls:
        return f"{text}\n(not sent: {VARIABLE} is not set)"
    send(alert, urls)
    return f"Sent to {len(urls)} {'address' if len(urls) == 1 else 'addresses'}: {alert.title}"


def send(alert: Alert, urls: Sequence[str]) -> None:
    """Send an alert to each of `urls`; AlertError says afterwards which, by place and never by itself, did not work."""
    apprise = _apprise()
    kinds = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    problems = []
    for place, url in enumerate(urls, 1):
        service = apprise.Apprise()
        body = "\n".join(alert.lines)
        if not service.add(url):
            problems.append(f"URL {place} of {len(urls)} is none that apprise knows")
        elif not service.notify(body=body, title=alert.title, notify_type=kinds[alert.level], body_format="text"):
            problems.append(f"nothing was delivered to URL {place} of {len(urls)}")
    if problems:
        raise AlertError(f"{VARIABLE}: {'; '.join(problems)}: mend it and send again")


def _apprise() -> Any:  # noqa: ANN401 - a module without types
    import logging

    import apprise

    logging.getLogger("apprise").disabled = True  # it logs URLs, and they hold secrets
    return apprise
