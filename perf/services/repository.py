"""The run's scratch repository: a git repository furnished as khive expects one, and the programs khive calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import ServiceUnavailableError
from perf.services import claude, git

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS = "bin"
"""The folder of the stand-ins; it belongs first on PATH before lionagi is imported, which looks for `claude` once."""

BRANCH = "orders"
"""The branch that is checked out."""

TASKS = 2
"""How many of the open issues that `gh` lists khive takes for tasks, by their labels."""

_ISSUES = [
    {"number": 1, "title": "Orders are lost", "labels": [{"name": "bug"}, {"name": "priority:high"}]},
    {"number": 2, "title": "Retry with a pause", "labels": [{"name": "enhancement"}]},
    {"number": 3, "title": "Which queue?", "labels": [{"name": "question"}]},
]
_NO_SERVERS = '{"mcpServers": {}}\n'
_IDENTITY = ("-c", "user.name=khive", "-c", "user.email=khive@localhost")


def furnish(folder: Path, latency_seconds: float = 0.0) -> None:
    """Make `folder` a repository that khive can work in; `claude` there answers after `latency_seconds`.

    It gets khive's own prompts (builds after 0.4.0 read them from there), the settings that roles with a
    workspace of their own are given a copy of, a commit, and stand-ins for the programs that would leave this
    machine: `claude`, and `gh`, which lists three issues whatever it is asked.
    """
    prompts = Path(str(files("khive"))) / "prompts"
    (folder / ".khive").mkdir()
    shutil.copytree(prompts, folder / ".khive" / "prompts")  # khive writes there, so no link into the installed one
    for role in sorted((prompts / "roles").glob("*.md")):
        _furnish_role(folder / ".khive" / "roles" / role.stem / ".claude")
    programs = folder / PROGRAMS
    programs.mkdir()
    claude.install(programs, latency_seconds)
    (programs / "gh").write_text(f"#!/bin/sh\necho '{json.dumps(_ISSUES)}'\n")
    (programs / "gh").chmod(0o755)
    (folder / ".mcp.json").write_text(_NO_SERVERS)
    (folder / "README.md").write_text("# Orders\n")
    begin = ["init", "--quiet", "--initial-branch", BRANCH]
    for command in (begin, ["add", "README.md"], [*_IDENTITY, "commit", "--quiet", "-m", "Begin"]):
        subprocess.run(["git", *command], cwd=folder, env=_plain_git(), check=True)  # noqa: S603, S607 - on PATH


def variables(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which khive, when it is imported, finds the repository in `folder` and its programs."""
    return {
        "KHIVE_CC_REPO_LOCAL": str(folder),
        # lionagi imports matplotlib, which would list this machine's fonts in a folder of the user's.
        "MPLCONFIGDIR": str(folder / ".matplotlib"),
        "PATH": f"{folder / PROGRAMS}{os.pathsep}{environ.get('PATH', os.defpath)}",
    }


def _plain_git() -> dict[str, str]:
    """Return an environment in which git knows this repository and its settings alone."""
    if shutil.which("git") is None:
        raise ServiceUnavailableError("git is not installed: khive works in a git repository, and one is made for it")
    return git.environment() | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def _furnish_role(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".mcp.json").write_text(_NO_SERVERS)
    (folder / "settings.json").write_text('{"permissions": {"allow": ["Read"]}}\n')
    (folder / "CLAUDE.md").write_text("# How this role works\n\nRead before you write.\n")
