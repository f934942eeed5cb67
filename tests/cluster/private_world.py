"""Networks that only one process tree sees: machines as network namespaces on a switch, and ways to break the wires.

A process enters a world of its own first (mount and network namespaces, and a user namespace where it is not root):
all of it is gone with its last process. Knows no cluster.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_INSIDE = "SAGE_TEST_WORLD"
_NOBODY = "02:00:00:00:00:01"
_TOOL_S = 10.0


@functools.cache
def what_is_lacking() -> str:
    """Return why no private world can be had here; "" where it can."""
    if not sys.platform.startswith("linux"):
        return "it takes Linux"
    missing = [tool for tool in ("unshare", "nsenter", "ip", "bridge", "ss") if shutil.which(tool) is None]
    if missing:
        return f"it takes iproute2 and util-linux: {', '.join(missing)} missing"
    script = "mount -t tmpfs tmpfs /run && ip netns add probe && ip -n probe link add probe type bridge"
    probe = subprocess.run(
        [*_unshare(), "sh", "-c", script], capture_output=True, text=True, check=False, timeout=_TOOL_S
    )
    return f"this kernel refuses namespaces: {probe.stderr.strip()}" if probe.returncode else ""


def command_inside(command: Sequence[str]) -> list[str]:
    """Return what runs `command` in a world of its own; it finds itself inside."""
    script = f'mount -t tmpfs tmpfs /run && export {_INSIDE}=1 && exec "$@"'
    return [*_unshare(), "sh", "-c", script, "sh", *command]


def enter(module: str, arguments: Sequence[str]) -> None:
    """Begin `python -m MODULE ARGUMENTS` anew, inside; returns at once where this process is."""
    if os.environ.get(_INSIDE) is None:
        command = command_inside([sys.executable, "-m", module, *arguments])
        os.execvp(command[0], command)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of a network: a namespace with one address and a host name of its own."""

    name: str
    address: str
    switch: str

    def prefix(self) -> tuple[str, ...]:
        """Return what stands before a command to have it run there."""
        hostname = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name)
        return ("nsenter", f"--net=/run/netns/{self._namespace}", *hostname)

    def ports(self) -> list[str]:
        """Return what is listened on there."""
        return _tool("nsenter", f"--net=/run/netns/{self._namespace}", "ss", "-Hltn").splitlines()

    # The wires. Each `cut` has its `mend`; what is cut loses every packet, without a word to either end.

    def cut(self) -> None:
        """Pull the plug: nothing goes out and nothing comes in."""
        ip("-n", self.switch, "link", "set", self.name, "down")

    def mend(self) -> None:
        ip("-n", self.switch, "link", "set", self.name, "up")

    def cut_towards(self, other: "Host") -> None:
        """Lose what goes from here to `other`; what comes from there arrives."""
        ip(
            "-n",
            self._namespace,
            "neigh",
            "replace",
            other.address,
            "lladdr",
            _NOBODY,
            "nud",
            "permanent",
            "dev",
            "eth0",
        )

    def mend_towards(self, other: "Host") -> None:
        ip("-n", self._namespace, "neigh", "del", other.address, "dev", "eth0")

    @property
    def _namespace(self) -> str:
        return f"{self.switch}-{self.name}"


@contextmanager
def network(switch: str, names: Sequence[str], net: str = "10.0.0") -> Iterator[tuple[Host, ...]]:
    """Give hosts on one switch, with the addresses NET.1, NET.2 and so on; only inside. They are gone at the end."""
    assert os.environ.get(_INSIDE), "enter() comes first"
    hosts = tuple(Host(name, f"{net}.{number}", switch) for number, name in enumerate(names, start=1))
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for host in hosts:
            _plug_in(host)
        yield hosts
    finally:
        for namespace in (*(f"{switch}-{host.name}" for host in hosts), switch):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False, timeout=_TOOL_S)


def _plug_in(host: Host) -> None:
    namespace = f"{host.switch}-{host.name}"
    ip("netns", "add", namespace)
    ip("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", host.name, "netns", host.switch)
    ip("-n", host.switch, "link", "set", host.name, "master", "bridge", "up")
    ip("-n", namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        ip("-n", namespace, "link", "set", link, "up")


def ip(*arguments: str) -> str:
    return _tool("ip", *arguments)


def _tool(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TOOL_S)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _unshare() -> list[str]:
    user = [] if sys.platform == "linux" and os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--net"]
