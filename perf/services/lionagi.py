"""What of lionagi, which khive is built on, is set while khive is measured; all else of it runs as it ships."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def openrouter_at(url: str, key: str) -> Iterator[None]:
    """Let what lionagi sends to its provider "openrouter" go to `url`, with `key`.

    A khive that names this provider in its configuration can name no URL there, and lionagi 0.15 has the URL of each
    provider in its code. So the one function that makes this provider's settings is given ours: nothing leaves for
    the provider itself.
    """
    providers, name = import_module("lionagi.service.connections.providers.oai_"), "_get_openrouter_config"
    original = getattr(providers, name)
    setattr(providers, name, partial(original, base_url=url, api_key=key))
    try:
        yield
    finally:
        setattr(providers, name, original)


def forget_logs() -> None:
    """Keep lionagi from writing what its branches logged when Python exits, into the folder it is then in."""
    if "lionagi" in sys.modules:
        logger = import_module("lionagi.protocols.generic.log").DataLogger
        logger.dump = lambda *_, **__: None
