from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from perf.errors import ServiceUnavailableError
from perf.record import environment
from perf.record.environment import NAMED_PACKAGES, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from perf.services.build import Build


def install(folder: Path, name: str, version: str) -> None:
    """Put the metadata of a distribution into `folder`, as pip would."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def test_the_fingerprint_names_machine_python_and_suite() -> None:
    """A fingerprint tells the machine, the Python and the suite's version and commit apart from others."""
    taken = fingerprint()

    machine = taken["machine"]
    assert (machine["node"], machine["cpus"]) == (platform.node(), os.cpu_count())
    assert machine["memory_bytes"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine["cpu"]
    assert taken["python"].endswith(platform.python_version())
    assert taken["suite"]["version"] == metadata.version("khive-performance-suite")
    assert re.fullmatch(r"[0-9a-f]{12}( \(modified\))?", taken["suite"]["commit"] or "0" * 12)


def test_two_fingerprints_of_one_environment_are_equal() -> None:
    """Nothing in a fingerprint changes from one run to the next on the same machine, and JSON holds it all."""
    taken = fingerprint()

    assert fingerprint() == taken
    assert msgspec.json.decode(msgspec.json.encode(taken)) == taken


def test_the_fingerprint_holds_exact_versions() -> None:
    """Every installed package is there with its version, those that move figures most among them."""
    taken = fingerprint()

    installed = {name: metadata.version(name) for name in ("msgspec", "numpy", "pytest", *NAMED_PACKAGES)}
    assert {name: taken["packages"][name] for name in installed} == installed
    assert taken["khive"]["version"] == metadata.version("khive")


def test_a_shadowed_package_is_not_the_one_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package installed twice the version that is imported is named, not the one it hides."""
    for folder, version in (("hidden", "1.0"), ("imported", "2.0")):
        install(tmp_path / folder, "twice", version)
        monkeypatch.syspath_prepend(tmp_path / folder)

    assert fingerprint()["packages"]["twice"] == metadata.version("twice") == "2.0"


def test_without_khive_the_fingerprint_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no khive is installed the fingerprint holds none instead of failing."""

    def no_build() -> Build:
        raise ServiceUnavailableError("khive is not installed here")

    monkeypatch.setattr(environment, "installed_build", no_build)

    assert fingerprint()["khive"] is None
