"""The khive build that is installed: its version, where it came from, and the name of what is measured."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from perf.errors import NotOfferedError, ServiceUnavailableError, SettingsError
from perf.services import git

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., object]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """The khive that is imported: version, origin ("release", a path or a URL) and short commit where it has one."""

    version: str
    origin: str
    commit: str | None

    def __str__(self) -> str:
        """Return the build's name as short as tells it from others, for each reason begins with it."""
        return f"khive {self.version} at {self.commit}" if self.commit else f"khive {self.version} ({self.origin})"


@cache
def installed_build() -> Build:
    """Return the installed khive build, read anew in every process; ServiceUnavailableError without one."""
    try:
        distribution = metadata.distribution("khive")
    except metadata.PackageNotFoundError:
        raise ServiceUnavailableError(
            "khive is not installed here: run `nox -s perf`, which installs it, "
            "or `pip install khive==0.4.0 -c constraints/floating.txt`"
        ) from None
    origin, commit = _origin(distribution.read_text("direct_url.json"))
    return Build(version=distribution.version, origin=origin, commit=commit)


def _origin(direct_url: str | None) -> tuple[str, str | None]:
    """Read PEP 610's record of where a distribution came from; a release from an index has none."""
    if direct_url is None:
        return "release", None
    record = json.loads(direct_url)
    if "vcs_info" in record:
        return record["url"], record["vcs_info"]["commit_id"][:12]
    if "dir_info" in record:
        folder = Path(unquote(urlsplit(record["url"]).path))
        return str(folder), git.commit(folder)
    return record["url"], None


def requirements(spec: str) -> list[str]:
    """Return the pip requirements that a khive SPEC means, one per word of it.

    A word is a bare version ("0.4.0"), a git URL, or anything pip takes: a requirement, a wheel, a path.
    Raises SettingsError on an empty SPEC.
    """
    try:
        words = [word for word in shlex.split(spec) if word]
    except ValueError:  # a quote that is never closed
        words = []
    if not words:
        raise SettingsError(f"--khive {spec!r}: needs a version, a wheel, a path, a git URL or a requirement")
    return [_requirement(word) for word in words]


def _requirement(word: str) -> str:
    if word.startswith("git+"):
        return f"khive @ {word}"
    if word[0].isdigit() and not Path(word).exists():
        return f"khive=={word}"
    return word


def offered(module: str, *names: str) -> tuple[Any, ...]:
    """Import `names` from a khive module; NotOfferedError names the first that this build lacks.

    Only what is absent counts as not offered. A module that is there and fails to import raises as it is:
    that is a fault of the build, and the report shows it as one.
    """
    try:
        home = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise NotOfferedError(f"{installed_build()} has no {module}") from None
    missing = [name for name in names if not hasattr(home, name)]
    if missing:
        raise NotOfferedError(f"{installed_build()} has no {module}.{missing[0]}")
    return tuple(getattr(home, name) for name in names)


def measures(subject: str) -> Callable[[_Function], _Function]:
    """Mark a binding with what it really measures, where its own name would not say it."""

    def mark(function: _Function) -> _Function:
        function.subject = subject  # type: ignore[attr-defined]
        return function

    return mark


def subject_of(operation: Callable[..., object]) -> str:
    """Return the name of what `operation` measures, with the distribution and version it comes from.

    For example `khive.services.plan.planner_service.OrchestrationPlanner.assess (khive 0.4.0)`.
    """
    function = operation.func if isinstance(operation, partial) else operation
    name = getattr(function, "subject", None) or _dotted_name(function)
    distributions = _distributions().get(name.partition(".")[0])
    return f"{name} ({distributions[0]} {metadata.version(distributions[0])})" if distributions else name


def _dotted_name(function: Any) -> str:  # noqa: ANN401 - anything callable
    """Return module and qualified name; a class method's is that of the class it was taken from, not of its base."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}.{function.__name__}"
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', None) or type(function).__qualname__}"


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: list(homes) for name, homes in metadata.packages_distributions().items()}
