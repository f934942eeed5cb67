"""Three machines of one cluster, each a network namespace with its own address and home: what docs/cluster.md says.

    python -m tests.cluster.three_machines

Needs root, iproute2 and Linux; elsewhere it says so and exits 0. It prints every command that it runs and exits 1
where one does not do what the page says. Nothing stays behind.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
NET = "10.209.77"
PORT = 7077
SWITCH = "sage-switch"
DEADLINE_S = 60.0
COMMAND = "from sage.cli import main; import sys; sys.exit(main(['cluster', *sys.argv[1:]]))"

FLOW = """
import sage

flow = sage.Flow("three-machines")
counts = (
    flow.from_collection(["to be or not to be"] * 3_000)
    .flat_map(str.split).with_parallelism(3)
    .key_by(lambda word: word).with_parallelism(3)
    .count(final=True).with_parallelism(3)
    .collect()
)
if __name__ == "__main__":
    import sys
    flow.run(sys.argv[1], timeout_s=50)
    print(sorted(counts.items))
"""
COUNTED = "[('be', 6000), ('not', 3000), ('or', 3000), ('to', 6000)]"


class Unexpected(Exception):
    """A command did not do what the page says."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A network namespace with an address, and a home of its own."""

    name: str
    address: str
    home: Path

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Run `sage-cluster ARGUMENTS` there and return what it printed; raises Unexpected."""
        return self._run(["-c", COMMAND, *arguments], f"sage-cluster {shlex.join(arguments)}", fails=fails)

    def python(self, *arguments: str) -> str:
        """Run `python ARGUMENTS` there and return what it printed; raises Unexpected."""
        return self._run(list(arguments), f"python {shlex.join(arguments)}", fails=False)

    def processes(self) -> list[str]:
        """Return the command lines of what runs there."""
        pids = ip("netns", "pids", self.name).split()
        return [" ".join(psutil.Process(int(pid)).cmdline()) for pid in pids if psutil.pid_exists(int(pid))]

    def ports(self) -> list[str]:
        """Return what is listened on there."""
        found = subprocess.run(
            ["ip", "netns", "exec", self.name, "ss", "-Hltn"], capture_output=True, text=True, check=False
        )
        return found.stdout.splitlines()

    def _run(self, arguments: list[str], shown: str, *, fails: bool) -> str:
        print(f"{self.name}$ {hidden(shown)}", flush=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "XDG_"))}
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, sys.executable, *arguments],
            env={**environ, "HOME": str(self.home), "PYTHONPATH": str(ROOT)},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if "--json" not in arguments:
            print(hidden(done.stdout + done.stderr).rstrip(), flush=True)
        if (done.returncode != 0) is not fails:
            raise Unexpected(f"{self.name}: {hidden(shown)} exited {done.returncode}")
        return done.stdout


def main() -> int:
    """Set up, try and take down three machines; return the exit status."""
    lacking = what_is_lacking()
    if lacking:
        print(f"three machines: left out, {lacking}")
        return 0
    try:
        with three_machines() as machines:
            work(*machines)
    except Unexpected as fault:
        print(f"three machines: {fault}", file=sys.stderr)
        return 1
    print("three machines: all as docs/cluster.md says")
    return 0


def what_is_lacking() -> str:
    """Return why three namespaces cannot be had here; "" where they can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "it takes root on Linux"
    if shutil.which("ip") is None or shutil.which("ss") is None:
        return "it takes iproute2"
    probe = subprocess.run(["ip", "netns", "add", f"{SWITCH}-probe"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"no network namespace can be made: {probe.stderr.strip()}"
    ip("netns", "del", f"{SWITCH}-probe")
    return ""


def work(first: Machine, second: Machine, third: Machine) -> None:
    """Do what the page says, and look whether it is so."""
    head = f"tcp://{first.address}:{PORT}"
    first.run("start", "--address", head, "--nodes", "1")
    for joining in (second, third):
        token = first.run("token").strip().splitlines()[-1]
        joining.run("join", head, "--token", token, "--node", joining.name)  # all three have the same host name
    nodes = json.loads(first.run("nodes", "--json"))
    expect(len(nodes) == 3, f"{len(nodes)} nodes are members")
    (first.home / "flow.py").write_text(FLOW)
    expect(COUNTED in first.python("flow.py", head), "the words were counted otherwise")
    job = json.loads(first.run("jobs", "--json"))[0]
    used = {node for chain in job["metrics"]["chains"] for node in chain["nodes"]}
    expect(len(used) == 3, f"the job ran on {sorted(used)}")
    second.run("join", head, "--token", token, "--name", "again", fails=True)  # a token is good once
    third.run("stop")
    third.run("join", head, "--node", third.name)  # keys stay: it may come back
    first.run("stop")
    for machine in (first, second, third):
        expect(not machine.processes(), f"{machine.name} still runs {machine.processes()}")
        expect(not machine.ports(), f"{machine.name} still listens: {machine.ports()}")


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Unexpected(otherwise)


@contextmanager
def three_machines() -> Iterator[tuple[Machine, Machine, Machine]]:
    """Give three namespaces on one switch; they are gone at the end, with what runs in them."""
    with tempfile.TemporaryDirectory(prefix="sage3-") as folder:
        machines = tuple(Machine(f"sage-{n}", f"{NET}.{n}", Path(folder) / str(n)) for n in (1, 2, 3))
        names = [SWITCH, *(machine.name for machine in machines)]
        try:
            for name in names:
                ip("netns", "add", name)
            ip("-n", SWITCH, "link", "add", "switch", "type", "bridge")
            ip("-n", SWITCH, "link", "set", "switch", "up")
            for machine in machines:
                machine.home.mkdir()
                plug_in(machine)
            yield machines[0], machines[1], machines[2]
        finally:
            for name in names:
                take_down(name)


def plug_in(machine: Machine) -> None:
    ip("link", "add", "eth0", "netns", machine.name, "type", "veth", "peer", "name", machine.name, "netns", SWITCH)
    ip("-n", SWITCH, "link", "set", machine.name, "master", "switch", "up")
    ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        ip("-n", machine.name, "link", "set", link, "up")


def take_down(name: str) -> None:
    """Kill what runs in a namespace, and remove it."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
    left = [psutil.Process(int(pid)) for pid in pids if psutil.pid_exists(int(pid))]
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5.0)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


def hidden(text: str) -> str:
    """Return `text` without the secrets of join tokens."""
    return re.sub(r"(sage-join-1\.\w{4})[\w-]+", r"\1...", text)


if __name__ == "__main__":
    sys.exit(main())
