"""What to install in a profile's environment. Standard library only: nox's own Python runs this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.services.build import requirements
from perf.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def installations(
    root: Path, environ: Mapping[str, str], profile: str, *, khive: str | None, uv: bool
) -> list[list[str]]:
    """Return the arguments of each `pip install` (or `uv pip install`) that readies `profile`'s environment.

    `khive` is the SPEC to measure, None for the profile's own. khive is installed anew each time and the
    suite as editable, so that a reused environment measures today's code; floating dependencies are
    upgraded in it, pinned ones held. Raises SettingsError on any mistake in the settings or the SPEC.
    """
    settings = read_settings(root, environ, profile)
    builds = requirements(settings.environment["khive"].value if khive is None else khive)
    dependencies = settings.environment["dependencies"].value
    arguments = ["-e", ".", *builds, "-c", f"constraints/{dependencies}.txt"]
    if dependencies == "floating":
        arguments += ["--upgrade"] if uv else ["--upgrade", "--upgrade-strategy", "eager"]
    if uv:
        return [[*arguments, "--reinstall-package", "khive", "--no-sources"]]
    return [arguments, ["--force-reinstall", "--no-deps", *builds]]
