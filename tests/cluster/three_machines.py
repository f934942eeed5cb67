"""Three machines of one cluster, each with its own network, address and home: the lines of docs/cluster.md, verbatim.

    python -m tests.cluster.three_machines

The lines are read from the page, run as they stand there, and held to what is said beside them. It takes Linux that
allows namespaces, root or not; elsewhere it says so and exits 2. It exits 1 where the page is wrong.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from tests.cluster.cluster_command import DEADLINE_S, ROOT, ClusterCommand, user_at_home
from tests.cluster.private_world import Host, enter, network, what_is_lacking

PAGE = ROOT / "docs" / "cluster.md"
HEADING = "## Three machines in ten lines"
MAX_LINES = 10
NAMES = ("first", "second", "third")

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
    CALL
    print(sorted(counts.items))
"""
COUNTED = "[('be', 6000), ('not', 3000), ('or', 3000), ('to', 6000)]"


class Unexpected(Exception):
    """The page says what is not so."""


@dataclass(frozen=True, slots=True)
class Line:
    """A command of the page: who types it, what, and what is said beside it."""

    machine: str
    command: str
    said: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A host and who is there."""

    host: Host
    user: ClusterCommand

    def type(self, command: str, *, fails: bool = False) -> str:
        """Run `command` in a shell there and return what it printed; raises Unexpected."""
        print(f"{self.host.name}$ {hidden(command)}", flush=True)
        done = subprocess.run(
            [*self.user.prefix, "sh", "-c", command],
            env={**self.user.environ(), "PATH": f"{self.user.home / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd=self.user.home,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if "--json" not in command:
            print(hidden(done.stdout + done.stderr).rstrip(), flush=True)
        if (done.returncode != 0) is not fails:
            raise Unexpected(f"{self.host.name}: {hidden(command)} exited {done.returncode}")
        return done.stdout

    def is_bare(self) -> bool:
        """Say whether nothing runs, listens or lies there any more."""
        return not (self.user.processes() or self.host.ports() or self.user.files())


def main() -> int:
    """Set up, try and take down three machines; return the exit status."""
    lacking = what_is_lacking()
    if lacking:
        print(f"three machines: left out, {lacking}", file=sys.stderr)
        return 2
    enter("tests.cluster.three_machines", ())
    try:
        with ExitStack() as stack:
            hosts = stack.enter_context(network("switch", NAMES))
            machines = {host.name: set_up(host, stack) for host in hosts}
            work(tuple(lines_of_page(PAGE.read_text(encoding="utf-8"))), machines)
    except Unexpected as fault:
        print(f"three machines: {fault}", file=sys.stderr)
        return 1
    print("three machines: all as docs/cluster.md says")
    return 0


def lines_of_page(page: str) -> Iterator[Line]:
    """Yield the commands below HEADING; raises Unexpected where there are none, or more than it says."""
    _, _, below = page.partition(f"\n{HEADING}\n")
    _, _, block = below.partition("\n```\n")
    block, _, _ = block.partition("\n```")
    lines = [re.fullmatch(r"(\w+)\$\s+(.*?)(?:\s+#\s+(.*))?", line) for line in block.splitlines()]
    if not 0 < len(lines) <= MAX_LINES or None in lines:
        raise Unexpected(f"{PAGE.name} has no ten lines of commands below {HEADING!r}")
    yield from (Line(line[1], line[2], line[3] or "") for line in lines if line is not None)


def set_up(host: Host, stack: ExitStack) -> Machine:
    """Install SAGE on a machine: give its user the commands, of this tree."""
    user = stack.enter_context(user_at_home(host.prefix()))
    (user.home / "bin").mkdir()
    run_cluster = "from cluster.commands.cluster import main; import sys; sys.exit(main())"
    for name, arguments in (("python", '"$@"'), ("sage-cluster", f"-c '{run_cluster}' \"$@\"")):
        command = user.home / "bin" / name
        command.write_text(f"#!/bin/sh\nexec {sys.executable} {arguments}\n")
        command.chmod(0o700)
    return Machine(host, user)


def work(lines: tuple[Line, ...], machines: Mapping[str, Machine]) -> None:
    """Do what the page says, and look whether it is so."""
    tokens: dict[str, str] = {}
    for line in lines:
        machine = machines.get(line.machine)
        if machine is None:
            raise Unexpected(f"no machine is called {line.machine}")
        if line.said.startswith("with "):
            (machine.user.home / "flow.py").write_text(FLOW.replace("CALL", line.said.removeprefix("with ")))
        command = re.sub(r"\bTOKEN\d\b", lambda found: tokens[found[0]], line.command)
        hold_to(line, machine.type(command), machines, tokens)


def hold_to(line: Line, printed: str, machines: Mapping[str, Machine], tokens: dict[str, str]) -> None:
    """Check what is said beside a line; raises Unexpected, also where nobody knows how to check it."""
    first, third = machines["first"], machines["third"]
    match line.said.split():
        case []:
            pass
        case ["prints", token]:
            tokens[token] = printed.strip().splitlines()[-1]
        case ["three", "nodes"]:
            expect(len(printed.strip().splitlines()) == 1 + len(NAMES), "there are not three nodes")
        case ["with", _]:
            expect(COUNTED in printed, "the words were counted otherwise")
            used = {node for chain in newest_job(first)["metrics"]["chains"] for node in chain["nodes"]}
            expect(len(used) == len(NAMES), f"the job ran on {sorted(used)}")
            third.type(f"sage-cluster join {address_of(first)} --token {tokens['TOKEN2']} --name again", fails=True)
        case ["this", "machine", "leaves"]:
            third.user.wait_gone()
            expect(third.is_bare(), "the third machine is not bare")
            third.type(f"sage-cluster join {address_of(first)}")  # keys stay: it may come back
        case ["the", "whole", "cluster", "ends"]:
            for machine in machines.values():
                machine.user.wait_gone()
                expect(machine.is_bare(), f"the {machine.host.name} machine is not bare")
        case _:
            raise Unexpected(f"nobody checks {line.said!r}")


def newest_job(machine: Machine) -> dict[str, dict[str, list[dict[str, list[str]]]]]:
    job: dict[str, dict[str, list[dict[str, list[str]]]]] = machine.user.json("jobs")[0]
    return job


def address_of(machine: Machine) -> str:
    return str(machine.user.json("status")["address"])


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Unexpected(otherwise)


def hidden(text: str) -> str:
    """Return `text` without the secrets of join tokens."""
    return re.sub(r"(sage-join-1\.\w{4})[\w-]+", r"\1...", text)


if __name__ == "__main__":
    sys.exit(main())
