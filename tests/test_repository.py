from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from perf.services.repository import PROGRAMS, TASKS, furnish

# khive's own warnings, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A furnished repository, of a user who has told git nothing and whose home is elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "repository"
    folder.mkdir()
    furnish(folder)
    return folder


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_it_has_a_commit_of_its_own(repository: Path) -> None:
    """It is a git repository of one commit, made without an identity of the user's."""
    assert git(repository, "rev-parse", "--show-toplevel") == str(repository.resolve())
    assert git(repository, "log", "--format=%an <%ae> %s") == "khive <khive@localhost> Begin"
    assert git(repository, "ls-files") == "README.md"


def test_it_has_khives_prompts(repository: Path) -> None:
    """The prompts are a copy of those of the khive that is installed, which khive may write to."""
    prompts, installed = repository / ".khive" / "prompts", Path(str(files("khive"))) / "prompts"

    assert not prompts.is_symlink()
    assert (prompts / "roles" / "tester.md").read_text() == (installed / "roles" / "tester.md").read_text()


def test_every_role_can_work_in_a_workspace_of_its_own(repository: Path) -> None:
    """Each role that khive has a prompt for has the three files that a workspace is given a copy of."""
    roles = {path.stem for path in (repository / ".khive" / "prompts" / "roles").glob("*.md")}

    assert {path.name for path in (repository / ".khive" / "roles").iterdir()} == roles
    for role in roles:
        folder = repository / ".khive" / "roles" / role / ".claude"
        assert json.loads((folder / ".mcp.json").read_text()) == {"mcpServers": {}}
        assert json.loads((folder / "settings.json").read_text())["permissions"]
        assert (folder / "CLAUDE.md").read_text()


def test_programs_stand_in_for_what_would_leave_this_machine(repository: Path) -> None:
    """`claude` answers, and `gh` lists issues, of which as many are tasks as it is said."""
    programs = repository / PROGRAMS

    issues = subprocess.run([programs / "gh", "issue", "list"], capture_output=True, text=True, check=True).stdout
    labels = [{label["name"] for label in issue["labels"]} for issue in json.loads(issues)]
    assert sum(bool(names & {"todo", "task", "enhancement", "bug"}) for names in labels) == TASKS < len(labels)
    said = subprocess.run([programs / "claude", "-p", "Hello."], capture_output=True, text=True, check=True).stdout
    assert len(said.splitlines()) == 3


def test_its_claude_has_the_latency_of_the_profile(tmp_path: Path) -> None:
    """The latency it is furnished with is the one `claude` waits."""
    furnish(tmp_path, latency_seconds=0.25)

    assert "sleep 0.25\n" in (tmp_path / PROGRAMS / "claude").read_text()


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_INDEX_FILE"])
def test_in_a_hook_it_leaves_the_hooks_repository_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Git tells its hooks which repository is theirs: the commit goes to the scratch repository all the same."""
    users, scratch = tmp_path / "users", tmp_path / "scratch"
    for folder in (users, scratch):
        folder.mkdir()
    git(users, "init", "--quiet")
    before = {path: path.read_bytes() for path in users.rglob("*") if path.is_file()}
    place = {"GIT_DIR": users / ".git", "GIT_INDEX_FILE": users / ".git" / "index"}[variable]
    monkeypatch.setenv(variable, str(place))

    furnish(scratch)

    monkeypatch.delenv(variable)
    assert {path: path.read_bytes() for path in users.rglob("*") if path.is_file()} == before
    assert git(scratch, "log", "--format=%s") == "Begin"


def test_the_users_own_hooks_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks that the user has for every repository have no part in this one."""
    hook, scratch = tmp_path / "hooks" / "pre-commit", tmp_path / "scratch"
    for folder in (hook.parent, scratch):
        folder.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[core]\n    hooksPath = {hook.parent}\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    furnish(scratch)

    assert git(scratch, "log", "--format=%s") == "Begin"
