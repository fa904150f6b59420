"""What of lionagi, which khive is built on, is set while khive is measured; all else of it runs as it ships."""

from __future__ import annotations

import atexit
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from shutil import rmtree
from tempfile import mkdtemp
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


@contextmanager
def logs_kept_apart() -> Iterator[None]:
    """Let every branch made meanwhile write its log, as it does when the process exits, where it is removed again.

    By default that is `./data/logs`: a thousand files in the user's own folder, since the scratch folder is gone then.
    """
    settings = import_module("lionagi.settings").Settings.Config.LOG
    original = settings["persist_dir"]
    settings["persist_dir"] = _log_folder()
    try:
        yield
    finally:
        settings["persist_dir"] = original


@cache
def _log_folder() -> str:
    folder = mkdtemp(prefix="khive-perf-logs-")
    # What is registered first runs last: after the branches, which are made later.
    atexit.register(rmtree, folder)
    return folder
