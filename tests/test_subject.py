"""What is measured has a name: the installed build, where it came from, and what it offers."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from tabulate import tabulate

from perf.errors import NotOfferedError, ServiceUnavailableError, SettingsError
from perf.services.build import installed_build, measures, offered, requirements, subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TABULATE = f"(tabulate {metadata.version('tabulate')})"


class Worker:
    def work(self) -> None: ...

    def __call__(self) -> None: ...

    @classmethod
    def make(cls) -> None: ...

    @staticmethod
    def help() -> None: ...

    @measures("a real thing (thing 1.2)")
    def marked(self) -> None: ...

    @measures("tabulate.tabulate, twice")
    async def marked_of_a_distribution(self) -> None: ...


class Special(Worker):
    """A worker whose class methods are its base's."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Any] | None], None]]:
    """Install a khive 9.8.7 that came from the given PEP 610 record, before any other on the path."""

    def install(direct_url: dict[str, Any] | None) -> None:
        info = tmp_path / "site" / "khive-9.8.7.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: khive\nVersion: 9.8.7\n")
        if direct_url is not None:
            (info / "direct_url.json").write_text(json.dumps(direct_url))
        monkeypatch.syspath_prepend(info.parent)
        installed_build.cache_clear()

    yield install
    installed_build.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write a module of an importable package named `own_service`."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_service"]:
        monkeypatch.delitem(sys.modules, name)

    def package(name: str, text: str) -> None:
        home = tmp_path / "own_service"
        home.mkdir(exist_ok=True)
        (home / "__init__.py").touch()
        (home / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    return package


@pytest.mark.parametrize(
    ("operation", "subject"),
    [
        (tabulate, f"tabulate.tabulate {TABULATE}"),
        (functools.partial(tabulate, [[1]]), f"tabulate.tabulate {TABULATE}"),
        (len, "builtins.len"),
        (Worker().work, f"{__name__}.Worker.work"),
        (Worker(), f"{__name__}.Worker"),
        (Worker, f"{__name__}.Worker"),
        (Worker.make, f"{__name__}.Worker.make"),
        (Special.make, f"{__name__}.Special.make"),
        (Special.help, f"{__name__}.Worker.help"),
        (Worker().marked, "a real thing (thing 1.2)"),
        (functools.partial(Worker().marked), "a real thing (thing 1.2)"),
        (Worker().marked_of_a_distribution, f"tabulate.tabulate, twice {TABULATE}"),
    ],
    ids=[
        "function",
        "partial",
        "builtin",
        "method",
        "object",
        "class",
        "class method",
        "class method of a base",
        "static method",
        "marked",
        "partial of marked",
        "marked of a distribution",
    ],
)
def test_a_subject_is_the_real_name(operation: Callable[..., object], subject: str) -> None:
    """A subject is module and qualified name with distribution and version, or what the binding says it measures."""
    assert subject_of(operation) == subject


def test_a_release_has_no_origin_but_that(install: Callable[[dict[str, Any] | None], None]) -> None:
    """A build from an index is called a release and has no commit."""
    install(None)

    build = installed_build()

    assert (build.version, build.origin, build.commit) == ("9.8.7", "release", None)
    assert str(build) == "khive 9.8.7 (release)"


def test_a_git_build_names_url_and_commit(install: Callable[[dict[str, Any] | None], None]) -> None:
    """A build from git carries the URL and the commit pip resolved, shortened; its name is version and commit."""
    commit = "51b0c2ac0ac97c15d14346fd6f1eeb111919050c"
    install({"url": "https://example.org/khive.git", "vcs_info": {"vcs": "git", "commit_id": commit}})

    build = installed_build()

    assert (build.origin, build.commit) == ("https://example.org/khive.git", "51b0c2ac0ac9")
    assert str(build) == "khive 9.8.7 at 51b0c2ac0ac9"


def test_a_wheel_names_its_url(install: Callable[[dict[str, Any] | None], None]) -> None:
    """A build from a wheel or an archive carries its URL."""
    install({"url": "file:///tmp/khive-9.8.7-py3-none-any.whl", "archive_info": {}})

    assert str(installed_build()) == "khive 9.8.7 (file:///tmp/khive-9.8.7-py3-none-any.whl)"


def test_a_folder_outside_git_names_its_path(install: Callable[[dict[str, Any] | None], None], tmp_path: Path) -> None:
    """A build from a folder carries its path, unquoted, and no commit when it has none."""
    folder = tmp_path / "my khive"
    folder.mkdir()
    install({"url": folder.as_uri(), "dir_info": {"editable": True}})

    build = installed_build()

    assert (build.origin, build.commit) == (str(folder), None)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on PATH")
def test_a_folder_in_git_names_its_commit(install: Callable[[dict[str, Any] | None], None], tmp_path: Path) -> None:
    """A build from a git checkout carries its commit, and says when its files differ from it."""
    folder = tmp_path / "checkout"

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    folder.mkdir()
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--no-gpg-sign", "-m", "first")
    head = git("rev-parse", "--short=12", "HEAD")
    install({"url": folder.as_uri(), "dir_info": {}})
    assert installed_build().commit == head

    (folder / "new.py").touch()
    installed_build.cache_clear()

    assert installed_build().commit == f"{head} (modified)"


def test_without_khive_the_way_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where khive is not installed, one line says how to get it."""

    def nothing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", nothing)
    installed_build.cache_clear()

    with pytest.raises(ServiceUnavailableError, match=r"^khive is not installed here: run `nox -s perf`.*$"):
        installed_build()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("0.4.0", ["khive==0.4.0"]),
        ("git+https://example.org/khive@51b0c2a", ["khive @ git+https://example.org/khive@51b0c2a"]),
        ("khive==0.4.0 'lionagi<0.16'", ["khive==0.4.0", "lionagi<0.16"]),
        ("../khive", ["../khive"]),
        ("'/my wheels/khive-0.4.0-py3-none-any.whl'", ["/my wheels/khive-0.4.0-py3-none-any.whl"]),
    ],
)
def test_a_spec_becomes_requirements(spec: str, expected: list[str]) -> None:
    """A bare version and a git URL become khive requirements; the rest is pip's own language, word by word."""
    assert requirements(spec) == expected


def test_a_folder_named_like_a_version_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SPEC that begins with a digit and exists as a path means that path."""
    (tmp_path / "0.4.0").mkdir()
    monkeypatch.chdir(tmp_path)

    assert requirements("0.4.0") == ["0.4.0"]


@pytest.mark.parametrize("spec", ["", "  ", "''", "'khive"])
def test_a_spec_that_says_nothing_is_refused(spec: str) -> None:
    """An empty or unreadable SPEC is a mistake in the settings, not a crash."""
    with pytest.raises(SettingsError, match="--khive"):
        requirements(spec)


def test_what_a_module_has_is_offered(package: Callable[[str, str], None]) -> None:
    """Names that are there come back in the order asked for."""
    package("whole", "first, second = 1, 2")

    assert offered("own_service.whole", "second", "first") == (2, 1)


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("own_service.partial", "absent", "own_service.partial.absent"),
        ("own_service.absent", "first", "own_service.absent"),
        ("own_absent.service", "first", "own_absent.service"),
    ],
    ids=["name", "module", "package"],
)
def test_what_is_absent_is_not_offered(package: Callable[[str, str], None], module: str, name: str, said: str) -> None:
    """A missing name, module or package is "not offered", under the build's name and its own."""
    package("partial", "first = 1")

    with pytest.raises(NotOfferedError) as error:
        offered(module, "first" if name == "first" else name)

    assert str(error.value) == f"{installed_build()} has no {said}"


@pytest.mark.parametrize(
    ("module", "text", "error"),
    [
        ("wants_module", "import absent_dependency", ModuleNotFoundError),
        ("wants_prefix", "import own", ModuleNotFoundError),
        ("wants_name", "from json import absent_name", ImportError),
        ("raises", "1 / 0", ZeroDivisionError),
    ],
)
def test_a_broken_module_raises_its_own_error(
    package: Callable[[str, str], None], module: str, text: str, error: type[Exception]
) -> None:
    """A module that is there and cannot be imported is a fault of the build, never "not offered"."""
    package(module, text)

    with pytest.raises(error) as raised:
        offered(f"own_service.{module}", "anything")

    assert not isinstance(raised.value, NotOfferedError)
