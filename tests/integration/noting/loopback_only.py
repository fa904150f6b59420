"""Run a command where there is no network but loopback, and count what it sent elsewhere.

Start it by `unshare --user --map-root-user --net`, with a file for the count and the command as its arguments.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path

_SET_FLAGS, _UP = 0x8914, 0x1


def unrouted() -> int:
    """Return how often any process in this network tried to send where no route leads."""
    titles, figures = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:3] == "Ip:"]
    others = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(figures[titles.index("OutNoRoutes")]) + int(others["Ip6OutNoRoutes"])


def main(count: Path, *command: str) -> int:
    with socket.socket() as any_socket:
        ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    before = unrouted()
    done = subprocess.run(command, check=False)
    count.write_text(str(unrouted() - before))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
