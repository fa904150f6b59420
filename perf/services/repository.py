"""The run's scratch repository: a git repository furnished as khive expects one, and the programs khive calls."""

from __future__ import annotations

import subprocess
from importlib.resources import files
from pathlib import Path

from perf.services import claude, git

PROGRAMS = "bin"
"""The folder of the stand-ins; it belongs first on PATH before lionagi is imported, which looks for `claude` once."""

_IDENTITY = (
    "-c",
    "user.name=khive",
    "-c",
    "user.email=khive@localhost",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "core.hooksPath=/dev/null",
)


def furnish(folder: Path, latency_seconds: float = 0.0) -> None:
    """Make `folder` a repository that khive can work in; `claude` there answers after `latency_seconds`.

    It gets khive's own prompts (builds after 0.4.0 read them from there), the settings that roles with a
    workspace of their own are given a copy of, a commit, and stand-ins for the programs that would leave this
    machine: `claude`, and `gh`, which knows of no issues.
    """
    prompts = Path(str(files("khive"))) / "prompts"
    (folder / ".khive").mkdir()
    (folder / ".khive" / "prompts").symlink_to(prompts, target_is_directory=True)
    for role in sorted((prompts / "roles").glob("*.md")):
        _furnish_role(folder / ".khive" / "roles" / role.stem / ".claude")
    programs = folder / PROGRAMS
    programs.mkdir()
    claude.install(programs, latency_seconds)
    (programs / "gh").write_text("#!/bin/sh\necho '[]'\n")
    (programs / "gh").chmod(0o755)
    (folder / "README.md").write_text("# Orders\n")
    for command in (["init", "--quiet"], ["add", "README.md"], [*_IDENTITY, "commit", "--quiet", "-m", "Begin"]):
        subprocess.run(["git", *command], cwd=folder, check=True, env=git.environment())  # noqa: S603, S607 - the user's own


def _furnish_role(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".mcp.json").write_text('{"mcpServers": {}}\n')
    (folder / "settings.json").write_text('{"permissions": {"allow": ["Read"]}}\n')
    (folder / "CLAUDE.md").write_text("# How this role works\n\nRead before you write.\n")
