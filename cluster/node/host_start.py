"""How this node starts the process of an engine host: with its devices, and the way to the head. Decides nothing."""

import shutil
import tempfile
from pathlib import Path

import msgspec

from cluster.node.config import NodeConfig
from cluster.runtime.control import StartEngineHost
from cluster.runtime.host_process import private_directory
from cluster.serving.engines.child_host import ChildHost
from cluster.serving.engines.environment import environment_for
from cluster.serving.engines.launch import host_arguments
from cluster.serving.engines.spec import EngineSpec


def start_host(order: StartEngineHost, config: NodeConfig) -> ChildHost:
    """Start the host; raises OSError, or what msgspec raises for a spec of another version."""
    spec = msgspec.json.decode(order.spec, type=EngineSpec)
    directory = _directory(config)
    arguments = host_arguments(spec, order.engine_id, directory, link_from(order.link, config.head))
    if config.head_key:
        arguments += ["--keys-folder", config.keys_folder, "--key", config.key or config.name]
        arguments += ["--head-key", config.head_key]
    try:
        return ChildHost(
            directory,
            arguments,
            max_iteration_s=spec.max_iteration_s,
            environment=environment_for(order.gpus),
        )
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _directory(config: NodeConfig) -> Path:
    """Return a new directory, within that of a node which has one: they are removed together, however the node ends."""
    return Path(tempfile.mkdtemp(prefix="engine-", dir=config.folder)) if config.folder else private_directory()


def link_from(link: str, head: str) -> str:
    """Return where a host connects to, by the address of the head as this node knows it.

    >>> link_from("tcp://*:7000", "tcp://[fd00::1]:7077")
    'tcp://[fd00::1]:7000'
    >>> link_from("ipc:///run/cluster/engine-1", "ipc:///run/cluster/control")
    'ipc:///run/cluster/engine-1'
    """
    if not link.startswith("tcp://*:"):
        return link
    host = head.removeprefix("tcp://").rpartition(":")[0]
    return f"tcp://{host}:{link.rpartition(':')[2]}"
