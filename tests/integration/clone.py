"""A clone of this working tree in a folder of its own, and the commands a user runs in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BASH = shutil.which("bash") or "/bin/bash"
LEFT_ALONE = ("PERF_", "NOX", "PYTEST", "VIRTUAL_ENV", "CI", "GITHUB_", "FORCE_COLOR", "COLUMNS")


@dataclass(frozen=True)
class Clone:
    """A git repository with every file of this working tree that git would keep."""

    path: Path
    temporary: Path

    @classmethod
    def make(cls, folder: Path) -> Clone:
        path, temporary = folder / "clone", folder / "tmp"
        temporary.mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, path / name)
        commit_all(path)
        return cls(path, temporary)

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_ALONE)}
        scripts = str(Path(sys.executable).parent)
        path = f"{scripts}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return kept | {"PATH": path, "TMPDIR": str(self.temporary), "COLUMNS": "200"} | variables

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command as a user would, both outputs in `stdout`."""
        return subprocess.run(
            [BASH, "-c", command],
            cwd=self.path,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def interrupt(self, command: str, when: str) -> tuple[int, str]:
        """Run a command, press Ctrl-C once its output holds `when`, and return its exit code and output."""
        log = self.path.parent / "interrupted.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [BASH, "-c", f"exec env --default-signal=INT {command}"],  # it may be ignored where we were started
                cwd=self.path,
                env=self.environment(PYTHONUNBUFFERED="1"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            while process.poll() is None and when not in log.read_text():
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(timeout=60)
        return code, log.read_text()

    def left_behind(self) -> list[str]:
        """Return what a finished command must not leave: processes of this clone, and files in its temporary folder."""
        listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        processes = [line for line in listing.splitlines() if str(self.path.parent) in line]
        return [*processes, *(path.name for path in self.temporary.iterdir() if path.name.startswith("khive-perf"))]


def commit_all(path: Path) -> str:
    """Commit everything in `path`, a new repository or an old one, and return the short commit."""
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.invalid", "-C", str(path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "a state of the tests"], check=True)
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
    return head.stdout.strip()
