"""Engines of a running cluster: started, scaled, drained and stopped by the command, while requests go on."""

import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.client.nodes_here import nodes_here
from cluster.client.reach import reach_address
from cluster.commands.engine_logs import pieces_of
from cluster.serving.engines.spec import spec_from_text
from sage.base.ids import EngineId
from tests.cluster.cluster_command import ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = pytest.mark.cluster
GONE_S = 40.0
_SAGE = """
import sys
from cluster.commands.engines import engines
from sage.cli import run_command
sys.exit(run_command(engines, "sage engines", sys.argv[1:]))
"""


def engines(command: ClusterCommand, *arguments: str, status: int = 0) -> Any:
    done = command.python("-c", _SAGE, *arguments, "--json")
    assert done.returncode == status, (done.stdout, done.stderr)
    return json.loads(done.stdout) if status == 0 else done.stderr


def states(command: ClusterCommand) -> dict[str, str]:
    return {engine["engine_id"]: engine["state"] for engine in engines(command, "list")["engines"]}


def test_engines_come_and_go_while_the_cluster_runs() -> None:
    with user_at_home() as command:
        command("start", "--nodes", "1", "--cpus", "2")
        (started,) = engines(command, "start", "simulated:cpu2,model=sim,name=e,cpus=1")
        assert (started["engine_id"], started["state"]) in [("e", "starting"), ("e", "ready")]
        with reach_address(command.json("status")["address"]) as cluster:
            assert cluster.generate(model="sim", prompt="once", max_tokens=2).text == "simulated-1 simulated-2"
        assert "already" in engines(command, "start", "simulated:cpu2,model=sim,name=e", status=1)
        shown = {engine["engine_id"]: engine for engine in engines(command, "scale", "e", "3")}
        assert set(shown) == {"e", "e-1", "e-2"}
        assert shown["e-2"]["state"] == "waiting"
        assert "CPUs" in shown["e-2"]["why"]
        assert "waiting" in command("top", "--once")
        engines(command, "stop", "e")
        eventually(lambda: states(command) == {}, GONE_S, lambda: states(command))
        assert "no engine is named 'e'" in engines(command, "drain", "e", status=1)
        command("stop")
        command.wait_gone()


def test_what_waits_for_room_begins_once_an_engine_has_made_some() -> None:
    with user_at_home() as command:
        command("start", "--nodes", "1", "--cpus", "1", "--engine", "simulated:cpu2,model=one,cpus=1")
        engines(command, "start", "simulated:cpu2,model=two,cpus=1")
        assert states(command)["two"] == "waiting"
        engines(command, "drain", "one")
        eventually(lambda: states(command) == {"two": "ready"}, GONE_S, lambda: states(command))
        command("stop")
        command.wait_gone()


def test_what_waits_for_room_begins_once_a_job_has_made_some() -> None:
    with nodes_here(1) as cluster:
        (node,) = cluster.nodes()
        flow = sage.Flow("endless")
        flow.from_collection(itertools.count()).map(abs).with_resources(cpus=node.total.cpus).for_each(abs)
        job = cluster.submit(flow)
        cluster.engine_admin.start(spec_from_text(f"simulated:cpu2,model=sim,cpus={node.total.cpus}"))
        assert [engine.state for engine in cluster.engines()] == ["waiting"]
        job.cancel()
        eventually(lambda: [engine.state for engine in cluster.engines()] == ["ready"], GONE_S, cluster.engines)


def test_why_an_engine_could_not_be_started_is_shown_until_it_is_stopped() -> None:
    with user_at_home() as command:
        command("start", "--nodes", "1")
        engines(command, "start", "vllm:/no/such/model,python=/bin/sh,name=e")
        eventually(lambda: states(command) == {"e": "lost"}, GONE_S, lambda: states(command))
        assert "no folder of a model" in engines(command, "list")["engines"][0]["why"]
        assert engines(command, "stop", "e") == []
        command("stop")
        command.wait_gone()


def server_that_prints(folder: Path) -> str:
    """Return a spec whose server prints a line at once, another when one is written to `more`, and serves nothing."""
    (folder / "config.json").write_text("{}")
    os.mkfifo(folder / "more")
    server = folder / "server"
    server.write_text(f"#!/bin/sh\necho one >&2\nread line < {folder}/more\necho $line >&2\nexec sleep 600\n")
    server.chmod(0o700)
    return f"vllm:{folder},python={server},name=e"


def test_the_log_of_an_engine_is_shown_and_followed_wherever_its_host_runs(tmp_path: Path) -> None:
    with user_at_home() as command:
        command("start", "--nodes", "1", "--engine", server_that_prints(tmp_path))
        address = command.json("status")["address"]
        with reach_address(address) as cluster:
            eventually(lambda: states(command) == {"e": "starting"}, GONE_S, lambda: states(command))
            eventually(lambda: cluster.engine_admin.log(EngineId("e")).data == b"one\n", GONE_S, cluster.engines)
            assert engines(command, "logs", "e") == {"engine_id": "e", "lines": ["one"]}
            pieces = pieces_of(
                lambda mark: cluster.engine_admin.log(EngineId("e"), mark), lambda: threading.Event().wait(0.05)
            )
            assert next(pieces) == "one\n"
            (tmp_path / "more").write_text("two\n")
            assert next(pieces) == "two\n"
        assert "no process of an engine 'other'" in engines(command, "logs", "other", status=1)
        engines(command, "stop", "e")
        eventually(lambda: states(command) == {}, GONE_S, lambda: states(command))
        assert "no process of an engine 'e'" in engines(command, "logs", "e", status=1)
        command("stop")
        command.wait_gone()


def test_a_spec_that_cannot_be_is_refused_before_it_is_sent() -> None:
    with user_at_home() as command:
        assert "Did you mean simulated" in engines(command, "start", "simulatd:cpu2", status=1)
        assert spec_from_text("simulated:cpu2").name == "cpu2"
        assert engines(command, "list")["engines"] == []
