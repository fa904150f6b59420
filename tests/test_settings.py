from __future__ import annotations

from pathlib import Path

import pytest

from perf.errors import SettingsError
from perf.judge.thresholds import resolve
from perf.settings import read_settings

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("profile", ["dev", "staging", "prod"])
def test_settings_come_from_the_folders_file(profile: str) -> None:
    """The settings are those of the folder's thresholds.toml under the profile and the variables given."""
    environ = {"PERF_CACHE_GET_MS": "3"}
    text = (ROOT / "thresholds.toml").read_text(encoding="utf-8")

    assert read_settings(ROOT, environ, profile) == resolve(text, environ, profile)


def test_a_missing_file_says_what_it_is_for(tmp_path: Path) -> None:
    """Without a thresholds.toml the error names the path, the cause and what the file is needed for."""
    with pytest.raises(SettingsError, match=r"thresholds\.toml: No such file or directory; .* limits") as caught:
        read_settings(tmp_path, {}, "dev")

    assert str(tmp_path) in str(caught.value)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    """A thresholds.toml that cannot be read as a file is a mistake in the settings."""
    (tmp_path / "thresholds.toml").mkdir()

    with pytest.raises(SettingsError, match=r"thresholds\.toml: Is a directory"):
        read_settings(tmp_path, {}, "dev")


def test_a_file_in_another_encoding_says_where(tmp_path: Path) -> None:
    """A thresholds.toml that is not UTF-8 names the byte where it stops being so."""
    (tmp_path / "thresholds.toml").write_bytes("# ±5 %\n".encode("latin-1"))

    with pytest.raises(SettingsError, match=r"thresholds\.toml: not UTF-8 \(.* at byte 2\)"):
        read_settings(tmp_path, {}, "dev")


def test_a_mistake_in_the_file_is_passed_on(tmp_path: Path) -> None:
    """What is wrong inside the file is told as `resolve` tells it."""
    (tmp_path / "thresholds.toml").write_text("[default.measure]\nrounds = 1\n", encoding="utf-8")

    with pytest.raises(SettingsError, match=r"default: unknown key; did you mean defaults\?"):
        read_settings(tmp_path, {}, "dev")
