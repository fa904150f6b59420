"""The evaluation runs, and what docs/detection.md claims of false alarms holds where it is simulated."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "detection.md").read_text(encoding="utf-8")


def evaluate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evaluation", "--quick", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


@pytest.fixture(scope="module")
def simulated() -> str:
    return evaluate().stdout


def test_without_data_it_says_what_is_skipped(simulated: str, tmp_path: Path) -> None:
    """No folder given, or one that is not there: one line, and the simulated tables."""
    assert simulated.startswith("Real data skipped: --data was not given. Simulated data only.\n")
    missing = evaluate("--data", str(tmp_path / "gone")).stdout
    assert missing.startswith(f"Real data skipped: {tmp_path / 'gone'} is not there.")
    assert "Two sets of runs" in missing


def test_ours_gives_fewer_false_alarms_than_it_allows(simulated: str) -> None:
    """In every simulated table our rules' false alarms are at most a few in a hundred, with few trials."""
    ours = re.findall(r"^.*(?:compare_samples|ours, tolerance|RegressionDetector).*$", simulated, flags=re.MULTILINE)

    assert len(ours) >= 10
    for line in ours:
        (false, _), *_ = re.findall(r"(\d+\.\d)% \(≤ (\d+\.\d)%\)", line)
        assert float(false) <= (7.0 if "Detector" in line else 2.5), line


def test_other_rules_are_told_apart(simulated: str) -> None:
    """The rules that pool rounds give many false alarms on the same data, so the comparison can tell them apart."""
    pooled = [line for line in simulated.splitlines() if "benchstat" in line or "pyperf" in line]

    assert all(float(re.findall(r"(\d+\.\d)% \(≤", line)[0]) > 10 for line in pooled)


def test_the_document_has_every_table() -> None:
    """Each table that the evaluation prints is in the document, with its number of trials."""
    titles = re.findall(r"^### (.*)$", DOCUMENT, flags=re.MULTILINE)

    assert len(titles) == 12
    assert "400 trials each" in DOCUMENT
    assert "2000 windows" in DOCUMENT
