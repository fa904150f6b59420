"""Where the settings come from: the `thresholds.toml` of the folder the suite runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.errors import SettingsError
from perf.judge.schema import FILE
from perf.judge.thresholds import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perf.judge.thresholds import Settings


def read_settings(root: Path, environ: Mapping[str, str], profile: str) -> Settings:
    """Return the settings of `profile` from the `thresholds.toml` in `root`; SettingsError on any mistake."""
    try:
        text = (root / FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{root / FILE}: {error.strerror}; the suite needs its limits from there") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{root / FILE}: not UTF-8 ({error.reason} at byte {error.start})") from None
    return resolve(text, environ, profile)
