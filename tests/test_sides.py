"""The environments of two builds that are compared: what holds in them, and what becomes of a build that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perf.errors import ServiceUnavailableError, SettingsError
from perf.settings import read_settings
from perf.sides import prepare

ROOT = Path(__file__).parents[1]


def test_a_build_that_will_not_install_is_one_clear_line(tmp_path: Path) -> None:
    """A version that does not exist is named with its side, in one line, with the installer's reason."""
    settings = read_settings(ROOT, {}, "dev")

    with pytest.raises(ServiceUnavailableError) as caught:
        prepare(ROOT, tmp_path, settings, {"current": "khive==99.0"}, lambda _: None)

    assert str(caught.value).startswith("--current khive==99.0: cannot be installed: ")
    assert "khive==99.0" in str(caught.value).partition("installed: ")[2]
    assert "\n" not in str(caught.value)


def test_a_build_that_cannot_be_imported_is_one_clear_line(tmp_path: Path) -> None:
    """What installs and then fails to import is told from what does not install."""
    build = tmp_path / "broken"
    (build / "khive").mkdir(parents=True)
    (build / "khive" / "__init__.py").write_text("raise RuntimeError('half a khive')\n")
    (build / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "khive"\nversion = "9.9"\n[tool.hatch.build.targets.wheel]\npackages = ["khive"]\n'
    )

    with pytest.raises(ServiceUnavailableError, match=r"khive cannot be imported: RuntimeError: half a khive$"):
        prepare(ROOT, tmp_path, read_settings(ROOT, {}, "dev"), {"current": str(build)}, lambda _: None)


def test_what_the_spec_names_is_not_held(tmp_path: Path) -> None:
    """A dependency that the SPEC names has that version, though the profile pins another; the rest is pinned."""
    said: list[str] = []
    settings = read_settings(ROOT, {}, "prod")

    with pytest.raises(ServiceUnavailableError):
        prepare(ROOT, tmp_path, settings, {"baseline": "khive==99.0 Typing_Extensions==4.1"}, said.append)

    held = (tmp_path / "ab-baseline" / "constraints.txt").read_text().splitlines()
    pinned = (ROOT / "constraints" / "pinned.txt").read_text().splitlines()
    assert set(pinned) - set(held) == {line for line in pinned if line.startswith(("typing-extensions==", "khive=="))}
    assert "Installing baseline" in said[0]


def test_a_checkout_means_the_build_that_it_names(tmp_path: Path) -> None:
    """A checkout's own `thresholds.toml` names the build, its own file what is pinned, and paths lie within it."""
    checkout = tmp_path / "base"
    (checkout / "constraints").mkdir(parents=True)
    (checkout / "constraints" / "floating.txt").write_text("lionagi==0.15.7\n")
    limits = (ROOT / "thresholds.toml").read_text()
    (checkout / "thresholds.toml").write_text(limits.replace('khive = "khive==0.4.0"', 'khive = "build"'))
    (checkout / "build").mkdir()
    (checkout / "build" / "pyproject.toml").write_text("not a project")
    said: list[str] = []

    with pytest.raises(ServiceUnavailableError, match="cannot be installed"):
        prepare(ROOT, tmp_path, read_settings(ROOT, {}, "dev"), {"baseline": str(checkout)}, said.append)

    assert said == [f"Installing baseline: {checkout} ({checkout / 'build'}) …"]
    assert (tmp_path / "ab-baseline" / "constraints.txt").read_text() == "lionagi==0.15.7\n"


def test_an_empty_spec_is_said(tmp_path: Path) -> None:
    """Nothing is no build."""
    with pytest.raises(SettingsError, match="needs a version"):
        prepare(ROOT, tmp_path, read_settings(ROOT, os.environ, "dev"), {"current": " "}, lambda _: None)
