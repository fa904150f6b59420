from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perf.environments import installations
from perf.errors import SettingsError
from perf.judge.schema import PROFILES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
SPEC = "khive==0.4.0"


def profile_of(dependencies: str) -> str:
    """Return a profile of the repository's whose dependencies are `floating` or `pinned`."""
    return {"floating": "dev", "pinned": "prod"}[dependencies]


def follows(arguments: Sequence[str], first: str, second: str) -> bool:
    return (first, second) in pairwise(arguments)


@pytest.mark.parametrize("uv", [True, False])
@pytest.mark.parametrize("dependencies", ["floating", "pinned"])
def test_a_profile_installs_suite_khive_and_its_constraints(dependencies: str, *, uv: bool) -> None:
    """The first install brings the suite as editable and khive, both held to the profile's constraints."""
    first, *_ = installations(ROOT, {}, profile_of(dependencies), khive=None, uv=uv)

    assert follows(first, "-e", ".")
    assert SPEC in first
    assert follows(first, "-c", f"constraints/{dependencies}.txt")
    assert (ROOT / "constraints" / f"{dependencies}.txt").is_file()


@pytest.mark.parametrize("uv", [True, False])
def test_only_floating_dependencies_are_upgraded(*, uv: bool) -> None:
    """A reused environment gets today's newest of what floats and keeps what is pinned."""
    floating, pinned = (
        [word for arguments in installations(ROOT, {}, profile_of(one), khive=None, uv=uv) for word in arguments]
        for one in ("floating", "pinned")
    )

    assert "--upgrade" in floating
    assert follows(floating, "--upgrade-strategy", "eager") is not uv
    assert "--upgrade" not in pinned


@pytest.mark.parametrize("profile", PROFILES)
def test_khive_is_installed_anew(profile: str) -> None:
    """uv reinstalls khive in its one install; pip does in a second one, which leaves the dependencies as they are."""
    (by_uv,) = installations(ROOT, {}, profile, khive=None, uv=True)
    _, again = installations(ROOT, {}, profile, khive=None, uv=False)

    assert follows(by_uv, "--reinstall-package", "khive")
    assert again == ["--force-reinstall", "--no-deps", SPEC]


@pytest.mark.parametrize(
    ("spec", "requirements"),
    [
        ("0.4.0", ["khive==0.4.0"]),
        ("khive>=0.4,<1", ["khive>=0.4,<1"]),
        ("dist/khive-0.4.0-py3-none-any.whl", ["dist/khive-0.4.0-py3-none-any.whl"]),
        ("/src/khive", ["/src/khive"]),
        ("'/my src/khive'", ["/my src/khive"]),
        (
            "git+https://github.com/khive-ai/khive.d@51b0c2a",
            ["khive @ git+https://github.com/khive-ai/khive.d@51b0c2a"],
        ),
        ("0.4.0 lionagi==0.15.9", ["khive==0.4.0", "lionagi==0.15.9"]),
    ],
)
@pytest.mark.parametrize("uv", [True, False])
def test_a_spec_replaces_the_profiles_khive(spec: str, requirements: list[str], *, uv: bool) -> None:
    """A version, wheel, path, git URL or requirement is what is installed, and the profile's own khive is not."""
    commands = installations(ROOT, {}, "dev", khive=spec, uv=uv)

    assert set(requirements) <= set(commands[0])
    assert not any(SPEC in arguments for arguments in commands if SPEC not in requirements)


def test_a_path_that_begins_with_a_digit_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named like a version is taken for the folder when it is there."""
    (tmp_path / "0.4.0").mkdir()
    monkeypatch.chdir(tmp_path)

    assert "0.4.0" in installations(ROOT, {}, "dev", khive="0.4.0", uv=True)[0]


def test_khive_is_what_pip_reinstalls_wherever_it_stands() -> None:
    """The build is installed anew also where the SPEC names another package before it."""
    *_, again = installations(ROOT, {}, "dev", khive="lionagi==0.15.9 khive==0.4.0", uv=False)

    assert SPEC in again


@pytest.mark.parametrize("spec", ["", "  ", "''", "it's", '"/my src'])
@pytest.mark.parametrize("uv", [True, False])
def test_a_spec_that_names_nothing_is_a_mistake(spec: str, *, uv: bool) -> None:
    """An empty SPEC, or one whose quotes do not close, is answered in one line with what a SPEC may be."""
    with pytest.raises(SettingsError, match="a version, a wheel, a path, a git URL") as caught:
        installations(ROOT, {}, "dev", khive=spec, uv=uv)

    assert "\n" not in str(caught.value)


def test_a_mistaken_variable_stops_the_installation() -> None:
    """A mistake in the settings is found before anything is installed."""
    with pytest.raises(SettingsError, match="PERF_CACHE_GTE_MS"):
        installations(ROOT, {"PERF_CACHE_GTE_MS": "1"}, "dev", khive=None, uv=True)
