"""What to do with saved runs: `invoke --list`. Measuring is nox's part; nothing here needs khive."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit
from invoke.tasks import task

from perf.errors import PerfError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from invoke.context import Context

    from perf.judge.gate import Judgement
    from perf.record.ab import PairedRun

ROOT = Path.cwd()
FORMATS = ("table", "markdown", "json")
GATE_REPORTS = ("release_performance.json", "release_performance.md", "release_performance.xml")


def _command(body: Callable[..., int | None]) -> Any:  # noqa: ANN401 - invoke's tasks have no types
    """Make a task whose errors are one line, and whose result is its exit code."""

    @functools.wraps(body)
    def run(context: Context, *arguments: object, **named: object) -> None:
        try:
            code = body(context, *arguments, **named)
        except PerfError as error:
            raise Exit(str(error), code=error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("interrupted", code=130) from None
        except BrokenPipeError:  # whoever read this has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return
        if code:
            raise Exit(code=code)

    return task(run)


@_command
def compare(
    _context: Context,
    baseline: str = "",
    current: str = "",
    profile: str = "",
    metric: str = "",
    tolerance: str = "",
    format: str = "table",  # noqa: A002 - the option's name
    output: str = "",
    only_changed: bool = False,  # noqa: FBT001, FBT002 - invoke makes a flag of it
    ab: str = "",
) -> int:
    """Compare saved runs. A run is a number, name, commit, path, glob, latest, previous or baseline.

    `--ab` shows a saved comparison of two builds instead: latest, its number, its name or its path.
    Exit code: 0 nothing is slower, 1 something is or a limit is broken, 2 bad input, 3 it cannot be said.
    """
    from perf.judging import Question, judgement_of_builds, load_builds
    from perf.judging import compare as judge

    _check_format(format)
    if ab:
        builds = load_builds(ROOT, ab)
        judgement = judgement_of_builds(builds, _tolerance(tolerance))
        _put(_render(format, judgement, only_changed=only_changed, builds=builds), output, judgement)
        return judgement.verdict.exit_code
    question = Question(tolerance=_tolerance(tolerance), metric=metric or None)
    judgement = judge(
        ROOT, os.environ, baseline=baseline or None, current=current or None, profile=profile or None, question=question
    )
    _put(_render(format, judgement, only_changed=only_changed), output, judgement)
    return judgement.verdict.exit_code


@_command
def release_gate(_context: Context, profile: str = "prod", output: str = ".", ab: str = "") -> int:
    """Judge the newest build since the baseline: limits, regressions, completeness. Only evidence passes.

    `--ab latest` lets a comparison of the two builds settle what the saved runs leave open.
    Writes release_performance.json, .md and .xml (JUnit) to the folder `--output`, and the summary of a CI job.
    Exit code: 0 passed, 1 failed, 2 bad input, 3 inconclusive.
    """
    from perf.judging import gate, load_builds, refused
    from perf.report.judgement import render_markdown, render_text
    from perf.report.junit import render_junit
    from perf.report.writer import append, remove, write

    paths = [Path(output) / name for name in GATE_REPORTS]
    for path in paths:
        remove(path)
    problem: PerfError | None = None
    try:
        judgement = gate(ROOT, os.environ, profile, load_builds(ROOT, ab) if ab else None)
    except PerfError as error:
        judgement, problem = refused(profile, error), error
    markdown = render_markdown(judgement)
    written = [
        write(path, text)
        for path, text in zip(paths, (_as_json(judgement, {}), markdown, render_junit(judgement)), strict=True)
    ]
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        append(Path(summary), markdown)
    print(render_text(judgement, notes=written))
    if problem:
        raise problem
    return judgement.verdict.exit_code


@_command
def baseline(
    _context: Context,
    promote: str = "",
    reason: str = "",
    profile: str = "",
    force: bool = False,  # noqa: FBT001, FBT002
    list: bool = False,  # noqa: A002, FBT001, FBT002
) -> None:
    """Show the baseline of each profile; `--list` all promotions; `--promote RUN --reason TEXT` a new one."""
    from perf.judging import baselines_in_force, open_archive, promote_run
    from perf.report.history import render_promotions
    from perf.settings import read_settings

    if profile:
        read_settings(ROOT, os.environ, profile)
    if promote:
        print(promote_run(ROOT, promote, reason, profile=profile or None, force=force))
        return
    archive = open_archive(ROOT)
    shown = archive.promotions if list else baselines_in_force(archive)
    print(render_promotions([one for one in shown if profile in {"", one.profile}]))


@_command
def history(
    _context: Context,
    profile: str = "",
    operation: str = "",
    metric: str = "",
    last: str = "20",
    sentinels: bool = False,  # noqa: FBT001, FBT002
) -> None:
    """List saved runs, and draw each operation's history with its steps; `--operation` names some, with * and ?.

    `--sentinels` shows instead how often comparisons of two builds were right about what was known.
    """
    if sentinels:
        print(_sentinels())
        return
    from perf.judging import baselines_in_force, history_of, open_archive
    from perf.report.history import render_runs, render_series
    from perf.settings import read_settings

    if profile:
        read_settings(ROOT, os.environ, profile)
    archive = open_archive(ROOT)
    names = {one.run for one in baselines_in_force(archive)}
    runs = [one for one in archive.saved.runs if profile in {"", one.profile}]
    print(render_runs(runs[-_count(last) :], names))
    for line in archive.saved.unreadable:
        print(f"not read: {line.reason}")
    if runs:
        series = history_of(archive, os.environ, runs[-1], operation or "*", metric or None)
        print(f"\n{render_series(series)}")


@_command
def alert(_context: Context, report: str = "release_performance.json") -> None:
    """Tell of the regressions in a report: to the services in PERF_ALERT_URL, else to the terminal."""
    from perf.report.alert import announce

    print(announce(Path(report), os.environ))


@_command
def quick_check(_context: Context) -> int:
    """Measure a handful of fast operations against the baseline of dev, in seconds; nothing is saved."""
    from perf.quick_check import quick_check as check

    return check(ROOT, os.environ)


def _sentinels() -> str:
    from perf.judge.ab import judge_sentinels, record_in_words
    from perf.record.ab_store import FOLDER, all_paired
    from perf.report.ab import record_of
    from perf.report.tables import as_text

    found, unreadable = all_paired(ROOT / FOLDER)
    judged = [(name, run, judge_sentinels(run)) for name, run in found]
    table = record_of(judged, record_in_words([sentinels for *_, sentinels in judged if sentinels]))
    lines = [as_text(table) or "No comparison of two builds is saved.", *(f"not read: {line}" for line in unreadable)]
    return "\n".join(lines)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise SettingsError(f"--last {text}: must be a number of runs, such as 20")
    return int(text)


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise SettingsError(f"--format {name}: unknown; one of {', '.join(FORMATS)}")


def _render(name: str, judgement: Judgement, *, only_changed: bool, builds: PairedRun | None = None) -> str:
    from perf.judge.ab import judge_sentinels
    from perf.report.ab import as_data, tables_of
    from perf.report.judgement import changed, render_markdown, render_text

    sentinels = judge_sentinels(builds) if builds else None
    if name == "json" and only_changed:
        judgement = replace(judgement, changes=tuple(changed(judgement)))
    if name == "json":
        return _as_json(judgement, {"builds": as_data(builds, sentinels)} if builds else {})
    render = render_text if name == "table" else render_markdown
    tables = tables_of(builds, sentinels) if builds else []
    return render(judgement, only_changed=only_changed, tables=tables)


def _as_json(judgement: Judgement, more: dict[str, Any]) -> str:
    import msgspec

    from perf.report.summary import summarise

    report = summarise(judgement, datetime.now(UTC)) | more
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def _tolerance(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:  # noqa: PLR2004 - also what is no number
        raise SettingsError(f"--tolerance {text}: must be a share such as 0.05, or 5%")
    return value


def _put(text: str, output: str, judgement: Judgement) -> None:
    """Print a report, or write it to a file and say so, the verdict last."""
    from perf.report.writer import write

    if not output:
        print(text.rstrip("\n"))
        return
    print(write(Path(output), text))
    print(f"verdict: {judgement.verdict.word}")
