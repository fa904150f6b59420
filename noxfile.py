"""Isolated environments: `nox -s perf` measures khive, `nox -s tests` and `nox -s lint` check the suite itself."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))  # nox's own Python does not have the suite installed

from perf.environments import installations  # noqa: E402
from perf.errors import PerfError  # noqa: E402
from perf.judge.schema import PROFILES  # noqa: E402

nox.needs_version = ">=2026.10.20"
nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

SECONDS_TO_CLEAN_UP = 20.0
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


@nox.session(allow_parallel=True)  # so that nox -j starts it, and it can say no; otherwise nox would ignore -j
@nox.parametrize("profile", [nox.param(name, id=name, tags=[name]) for name in PROFILES])
def perf(session: nox.Session, profile: str) -> None:
    """Measure khive under a profile; `nox -t dev` runs one. After `--`: `--khive SPEC` and pytest's arguments."""
    if session.parallel:
        session.error("measuring is never parallel, or each run would slow the other: run `nox -s perf` without -j")
    parser = argparse.ArgumentParser(prog="nox -s perf --", add_help=False, allow_abbrev=False)
    parser.add_argument("--khive")
    options, pytest_arguments = parser.parse_known_args(session.posargs)
    uv = session.venv_backend == "uv"
    try:
        commands = installations(ROOT, os.environ, profile, khive=options.khive, uv=uv)
    except PerfError as error:
        session.error(str(error))
    for arguments in commands:
        session.install(*arguments)
    _pytest(session, "benchmarks", "-v", "--disable-warnings", "--perf-profile", profile, *pytest_arguments)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the suite's own tests, against real khive and real Redis. After `--`: pytest's arguments."""
    groups = nox.project.dependency_groups(PROJECT, "tests")
    session.install("-e", ".", "khive==0.4.0", *groups, "-c", "constraints/pinned.txt")
    _pytest(session, "-W", "error", *(session.posargs or ["tests"]))


@nox.session
def ab(session: nox.Session) -> None:
    """Compare two khive builds in lockstep. After `--`: `--baseline SPEC --current SPEC`, and `--help` for the rest."""
    session.install("-e", ".", "uv", "-c", "constraints/pinned.txt")
    session.run("python", "-m", "perf.ab", *session.posargs, interrupt_timeout=SECONDS_TO_CLEAN_UP)


@nox.session
def evaluate(session: nox.Session) -> None:
    """Measure how often verdicts are wrong, beside other tools' rules. After `--`: `--data DIR`, `--quick`."""
    session.install("-e", ".", "-c", "constraints/pinned.txt")
    session.run("python", "-m", "evaluation", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff and types with mypy."""
    groups = nox.project.dependency_groups(PROJECT, "tests", "lint")
    session.install("-e", ".", *groups, "-c", "constraints/pinned.txt")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy", "perf", "benchmarks", "evaluation", "tests", "noxfile.py", "tasks.py")


def _pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest, leaving it time after Ctrl-C to stop its servers and remove its folders."""
    session.run(
        "python",
        "-m",
        "pytest",
        *arguments,
        interrupt_timeout=SECONDS_TO_CLEAN_UP,
        terminate_timeout=SECONDS_TO_CLEAN_UP,
    )
