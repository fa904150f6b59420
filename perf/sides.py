"""An environment for each of the two builds that are compared, made anew each time."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from perf.errors import ServiceUnavailableError, SettingsError
from perf.services.build import requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from perf.judge.thresholds import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REASON_LENGTH = 600
_IMPORTS = "import khive, importlib.metadata as metadata; print(metadata.version('khive'))"


def prepare(
    root: Path, folder: Path, settings: Settings, specs: Mapping[str, str], say: Callable[[str], None]
) -> dict[str, str]:
    """Return the Python of a new environment for each SPEC, with the suite in `root` and that build of khive.

    SettingsError on a SPEC that is none, ServiceUnavailableError on a build that cannot be installed or imported.
    """
    builds = {name: requirements(spec) for name, spec in specs.items()}
    pythons = {}
    for name, spec in specs.items():
        say(f"Installing {name}: {spec} …")
        place = folder / f"ab-{name}"
        pythons[name] = str(place / "bin" / "python")
        _uv(name, spec, "venv", "--quiet", "--clear", "--python", sys.executable, str(place))
        held = _constraints(root, place, settings.environment["dependencies"].value, builds[name])
        arguments = ["--python", pythons[name], "-e", str(root), *builds[name], "-c", str(held), "--no-sources"]
        _uv(name, spec, "pip", "install", "--quiet", *arguments)
        _import_khive(name, spec, pythons[name])
    return pythons


def _uv(name: str, spec: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a user's own SPEC
    if done.returncode:
        raise ServiceUnavailableError(f"--{name} {spec}: cannot be installed: {_one_line(done.stderr or done.stdout)}")


def _import_khive(name: str, spec: str, python: str) -> None:
    done = subprocess.run([python, "-c", _IMPORTS], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ServiceUnavailableError(f"--{name} {spec}: installed, but khive cannot be imported: {_one_line(last)}")


def _constraints(root: Path, place: Path, dependencies: str, builds: Sequence[str]) -> Path:
    """Write what holds all that the SPEC does not name itself, and return where."""
    source = root / "constraints" / f"{dependencies}.txt"
    named = {_normal(build) for build in builds}
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"{source}: {error.strerror}; run this in a clone of the suite") from None
    path = place / "constraints.txt"
    path.write_text("\n".join(line for line in lines if _normal(line) not in named) + "\n", encoding="utf-8")
    return path


def _normal(requirement: str) -> str:
    match = _NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[-_REASON_LENGTH:]
