"""URLs that are fit to print and to save."""

from __future__ import annotations


def redacted(url: str) -> str:
    """Return `url` without user, password and query, whatever else is wrong with it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
