"""An environment for each of the two builds that are compared, made anew each time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import ServiceUnavailableError, SettingsError
from perf.judge.schema import FILE
from perf.services.build import requirements
from perf.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perf.judge.thresholds import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REASON_LENGTH = 600
_IMPORTS = "import khive, importlib.metadata as metadata; print(metadata.version('khive'))"


def prepare(
    root: Path, folder: Path, settings: Settings, specs: Mapping[str, str], say: Callable[[str], None]
) -> dict[str, str]:
    """Return the Python of a new environment for each SPEC, with the suite in `root` and that build of khive.

    A SPEC that is the folder of a checkout of the suite means the build and the dependencies that are named there.
    SettingsError on a SPEC that is none, ServiceUnavailableError on a build that cannot be installed or imported.
    """
    wanted = {name: _wanted(root, spec, settings) for name, spec in specs.items()}
    pythons = {}
    for name, (builds, constraints) in wanted.items():
        spec = specs[name]
        named = " ".join(builds)
        say(f"Installing {name}: {spec if spec == named else f'{spec} ({named})'} …")
        place = folder / f"ab-{name}"
        pythons[name] = str(place / "bin" / "python")
        _uv(name, spec, "venv", "--quiet", "--clear", "--python", sys.executable, str(place))
        held = _held(constraints, place, builds)
        arguments = ["--python", pythons[name], "-e", str(root), *builds, "-c", str(held), "--no-sources"]
        _uv(name, spec, "pip", "install", "--quiet", *arguments)
        _import_khive(name, spec, pythons[name])
    return pythons


def _wanted(root: Path, spec: str, settings: Settings) -> tuple[list[str], Path]:
    """Return the requirements that a SPEC means, and the file of constraints that hold beside them."""
    checkout = Path(spec)
    if not spec.strip() or not (checkout / FILE).is_file():
        return requirements(spec), root / "constraints" / f"{settings.environment['dependencies'].value}.txt"
    environment = read_settings(checkout, {}, settings.profile).environment
    builds = requirements(environment["khive"].value)
    inside = [str((checkout / build).resolve()) if (checkout / build).exists() else build for build in builds]
    return inside, checkout / "constraints" / f"{environment['dependencies'].value}.txt"


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


def _held(constraints: Path, place: Path, builds: Sequence[str]) -> Path:
    """Write what holds all that the SPEC does not name itself, and return where."""
    named = {_normal(build) for build in builds}
    try:
        lines = constraints.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"{constraints}: {error.strerror}; run this in a clone of the suite") from None
    path = place / "constraints.txt"
    path.write_text("\n".join(line for line in lines if _normal(line) not in named) + "\n", encoding="utf-8")
    return path


def _normal(requirement: str) -> str:
    match = _NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[-_REASON_LENGTH:]
