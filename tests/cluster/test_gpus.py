"""GPUs of nodes that break, vanish and return under the engines that were given them; NVML is a fake."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest

from cluster.client.cluster import RemoteCluster
from cluster.client.line import HeadLine
from cluster.client.reach import attach_by
from cluster.client.shipping import shipping_by
from cluster.node.config import NodeConfig
from cluster.runtime.signing import new_signing_key
from tests.cluster.cluster_command import ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEADLINE_S = 60.0
SETTINGS = """
[[engine]]
name = "sim"
kind = "simulated"
model = "sim"
target = "h100"
gpus = 1
"""
FLOW = """
import sage

asking = sage.Flow("asking")
texts = asking.from_collection([f"text {n}" for n in range(8)])
texts.generate(model="sim", prompt=str, max_tokens=2).collect()

using = sage.Flow("using")
using.from_collection([0]).map(lambda _: [device.id for device in sage.devices()]).with_resources(gpus=1).print()
"""


@contextmanager
def gpu_node(user: ClusterCommand, control: str, name: str) -> "Iterator[subprocess.Popen[str]]":
    folder = user.home / "run" / name
    folder.mkdir(mode=0o700)
    config = NodeConfig(control, name, f"ipc://{folder}/data", is_child=False, folder=str(folder))
    said = msgspec.json.encode(config).decode()
    with user.popen("-m", "tests.cluster.gpu_node", said, str(user.home), f"GPU-{name}") as node:
        try:
            yield node
            node.communicate(timeout=DEADLINE_S)
        finally:
            node.kill()  # where what was tried has failed, it would be waited for without end


@contextmanager
def looking(control: str) -> Iterator[RemoteCluster]:
    """A client that only looks: quicker than a command."""
    line = HeadLine(attach_by(control), where="here")
    with RemoteCluster(line, line.greet("looker"), shipping_by(new_signing_key()), where="here") as cluster:
        yield cluster


def where(cluster: RemoteCluster) -> dict[str, float]:
    """Return how many GPUs are in use on each node that runs the engine."""
    views = [view for view in cluster.nodes() if view.engines == ("engine sim",)]
    return {view.node_id: view.total.gpus - view.free.gpus for view in views}


def hosts(user: ClusterCommand) -> list[psutil.Process]:
    return [process for process in user.processes() if "--engine-id" in process.cmdline()]


def test_an_engine_leaves_a_gpu_that_breaks_and_comes_back_with_one_that_returns() -> None:
    with user_at_home() as user:
        (user.home / "sage.toml").write_text(SETTINGS)
        (user.home / "flows.py").write_text(FLOW)
        user("start", "--nodes", "0")
        control = f"ipc://{next((user.home / 'run').rglob('control'))}"
        with looking(control) as cluster, gpu_node(user, control, "a"), gpu_node(user, control, "b"):
            eventually(lambda: len(cluster.nodes()) == 2, DEADLINE_S)
            user("submit", "flows.py:asking", "--wait")
            ((first, num_gpus),) = where(cluster).items()
            (host,) = hosts(user)
            assert (num_gpus, host.environ()["CUDA_VISIBLE_DEVICES"]) == (1, f"GPU-{first}")
            second = "b" if first == "a" else "a"
            (job,) = user.json("jobs")
            why = user("job", job["job_id"], "--explain")
            assert (
                f"engine sim (simulated:h100): on {first}, takes 1 GPUs (GPU-{first}, {80 << 30:,} bytes); " in why
            ), why
            shown = user("top", "--once")
            assert [line.split()[3] for line in shown.splitlines() if line.startswith("sim ")] == [first], shown
            assert f"['GPU-{second}']" in user("submit", "flows.py:using", "--wait")

            (user.home / f"GPU-{first}.xid").write_text("79")
            eventually(lambda: where(cluster) == {second: 1}, DEADLINE_S)
            user("submit", "flows.py:asking", "--wait")
            assert [host.environ()["CUDA_VISIBLE_DEVICES"] for host in hosts(user)] == [f"GPU-{second}"]

            (user.home / f"GPU-{second}.gone").touch()
            eventually(lambda: where(cluster) == {} and not hosts(user), DEADLINE_S)
            (user.home / f"GPU-{second}.gone").unlink()
            eventually(lambda: where(cluster) == {second: 1}, DEADLINE_S)
            user("stop")
        user.wait_gone()
