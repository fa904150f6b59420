"""The workflow and the hooks: what they may do, and that every command in them exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/performance.yml").read_text(encoding="utf-8"))
JOB = WORKFLOW["jobs"]["performance"]
STEPS: list[dict[str, Any]] = JOB["steps"]
SCRIPTS = [step["run"] for step in STEPS if "run" in step]


def test_it_may_only_read() -> None:
    """The token can read the code and no more, and no job asks for more."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in JOB


def test_forks_run_it_without_secrets() -> None:
    """It runs on pull requests of forks, in their own context, with no secret and no token kept in the checkout."""
    text = (ROOT / ".github/workflows/performance.yml").read_text(encoding="utf-8")
    triggers = WORKFLOW[True]  # YAML reads the key `on` as a truth value

    assert "pull_request" in triggers
    assert "pull_request_target" not in triggers
    assert "secrets." not in text
    assert all(step["with"]["persist-credentials"] is False for step in STEPS if "checkout@" in step.get("uses", ""))


def test_actions_are_pinned_to_commits() -> None:
    """Every action is named by a commit, which nobody can move."""
    used = [step["uses"] for step in STEPS if "uses" in step]

    assert used
    assert all(re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", one) for one in used)


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_is_pasted_into_a_script(script: str) -> None:
    """What others may write (a reason, a branch's name) reaches scripts through variables only."""
    assert "${{" not in script


def test_the_verdict_is_last_and_by_itself() -> None:
    """Reports are uploaded before the last step, which does nothing but end with a code of the two judgements."""
    last = STEPS[-1]

    assert last["env"] == {
        "CODE": "${{ steps.gate.outputs.code }}",
        "BUILDS": "${{ steps.builds.outputs.code }}",
    }
    assert last["if"] == STEPS[-2]["if"] == "always()"
    assert STEPS[-2]["uses"].startswith("actions/upload-artifact@")


@pytest.mark.parametrize(
    ("code", "builds", "ends"),
    [("0", "", 0), ("0", "0", 0), ("1", "", 1), ("3", "", 3), ("", "", 2), ("0", "1", 1), ("3", "1", 1), ("0", "3", 3)],
)
def test_the_verdict_step_ends_with_the_worse_code(code: str, builds: str, ends: int) -> None:
    """Run as it stands, the last step passes on the gate's code or the comparison's; without the gate's no pass."""
    done = subprocess.run(["bash", "-e", "-c", STEPS[-1]["run"]], env={"CODE": code, "BUILDS": builds}, check=False)

    assert done.returncode == ends


def test_only_main_saves_the_history() -> None:
    """A pull request reads the history and leaves it as it was."""
    (save,) = [step for step in STEPS if "actions/cache/save@" in step.get("uses", "")]

    assert save["if"] == "always() && github.ref == 'refs/heads/main' && github.event_name != 'pull_request'"


@pytest.mark.parametrize(
    ("nox", "ends"), [("exit 1", 1), ("touch .khive/performance/benchmarks/0001_prod_x.json; exit 1", 0)]
)
def test_a_job_that_saved_no_run_fails(tmp_path: Path, nox: str, ends: int) -> None:
    """Whatever each of three runs comes to, the measuring goes on; only a job that saved none has failed."""
    (tmp_path / ".khive/performance/benchmarks").mkdir(parents=True)
    (tmp_path / ".khive/performance/benchmarks/0000_prod_old.json").touch()
    (tmp_path / "nox").write_text(f"#!/bin/sh\necho measured >> {tmp_path}/said\n{nox}\n")
    (tmp_path / "nox").chmod(0o755)
    (measure,) = [step for step in STEPS if step.get("name") == "Measure"]
    script = measure["run"].replace("for run", "sleep 0.05; for run")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=False)

    assert done.returncode == ends
    assert (tmp_path / "said").read_text().count("measured") == 3


@pytest.mark.parametrize(
    ("nox", "ends", "code"),
    [("exit 1", 1, ""), ("touch .khive/performance/ab/0002_prod_x.json; exit 1", 0, "code=1\n")],
)
def test_a_pull_request_is_compared_with_its_base(tmp_path: Path, nox: str, ends: int, code: str) -> None:
    """What the checked out base names is compared with what the head names; a comparison of before is not judged."""
    (tmp_path / ".khive/performance/ab").mkdir(parents=True)
    (tmp_path / ".khive/performance/ab/0001_prod_old.json").touch()
    for name, body in (("nox", f'echo "$*" >> {tmp_path}/said\n{nox}'), ("invoke", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (base,) = [step for step in STEPS if step.get("name") == "Check out the base"]
    (compare,) = [step for step in STEPS if step.get("id") == "builds"]
    script = compare["run"].replace("nox", "sleep 0.05; nox", 1)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_OUTPUT": str(tmp_path / "output")}
    (tmp_path / "output").touch()

    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=False)

    assert done.returncode == ends
    assert (tmp_path / "output").read_text() == code
    assert (tmp_path / "said").read_text() == f"-s ab -- --baseline {base['with']['path']} --current . --profile prod\n"
    assert base["if"] == compare["if"] == "github.event_name == 'pull_request'"


def test_every_task_in_it_exists() -> None:
    """Each `invoke` command of the workflow and the hooks is a task with those options."""
    text = "\n".join([*SCRIPTS, (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")])
    commands = re.findall(r"invoke ([a-z-]+)((?: --[a-z]+)*)", text)

    assert {name for name, _ in commands} == {"release-gate", "baseline", "compare", "quick-check"}
    for name, options in commands:
        said = subprocess.run(
            [sys.executable, "-m", "invoke", "--help", name], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert all(option in said for option in options.split())
