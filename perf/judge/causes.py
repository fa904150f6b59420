"""What differs between two environments, and so may be why figures do: likely causes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIKELY = ("lionagi", "pydantic", "pydantic-core", "openai", "redis", "hiredis", "aiohttp", "orjson", "msgspec")
"""The packages on khive's own path, most likely first."""


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each version that differs between two runs' environments (`Run.environment`)."""
    return list(_differences(before, after))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    yield from _one("khive", _khive(before), _khive(after))
    yield from _one("Python", before.get("python"), after.get("python"))
    yield from _one("services", _services(before), _services(after))
    old, new = before.get("packages", {}), after.get("packages", {})
    names = sorted({*old, *new} - {"khive"}, key=lambda name: (_rank(name), name))
    for name in names:
        yield from _one(name, old.get(name), new.get(name))
    yield from _one("kernel", before.get("machine", {}).get("system"), after.get("machine", {}).get("system"))
    yield from _one("suite", before.get("suite", {}).get("commit"), after.get("suite", {}).get("commit"))


def _one(name: str, before: object, after: object) -> Iterator[str]:
    if before != after:
        yield f"{name} {before or 'none'} → {after or 'none'}"


def _rank(name: str) -> int:
    return LIKELY.index(name) if name in LIKELY else len(LIKELY)


def _khive(environment: Mapping[str, Any]) -> str | None:
    khive = environment.get("khive")
    return " at ".join(filter(None, (khive["version"], khive["commit"]))) if khive else None


def _services(environment: Mapping[str, Any]) -> str:
    return " · ".join(environment.get("services", []))
