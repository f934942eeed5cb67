"""Serve models over OpenAI's API. Knows no server: one is loaded where it is started."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.keys_command import keys
from sage.base.errors import ConfigInvalid
from sage.cli import new_app, run_command

if TYPE_CHECKING:
    from sage.base.settings import Settings

app = new_app("Serve models over OpenAI's API.")
app.add_typer(keys, name="keys")


def main() -> int:
    """Run `sage-gateway` and return its exit status."""
    return run_command(app, "sage-gateway", sys.argv[1:])


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    admin_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the administration, on this machine; 0 takes a free one."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; by default sage.toml here.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="KIND:TARGET[,KEY=VALUE...]; may be given several times.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Serve a cluster's models and flows: tcp://HOST:PORT, or its name here."),
    ] = None,
) -> None:
    """Serve engines until SIGTERM or Ctrl-C; by default the embedded chat and embedding models.

    With --cluster, serve what a running cluster has instead: its models, and its flows that are asked as models.
    """
    import os

    from gateway.keyed import listen_keyed
    from gateway.launching import launch_engines, wanted_engines
    from gateway.serving import serve as serve_engines
    from sage.base.config import load_settings
    from sage.base.log import set_up_log

    flags = {"gateway.host": host, "gateway.port": port, "gateway.admin_port": admin_port}
    settings = load_settings(flags, path=config)
    set_up_log(settings.log)
    if settings.models.cache_dir is not None:  # engine hosts read it there: they do not know of --config
        os.environ["SAGE_MODELS_CACHE_DIR"] = settings.models.cache_dir
    if cluster is not None:
        return _serve_cluster(cluster, settings, has_engines=bool(engine))
    specs = wanted_engines(engine or (), settings)
    bound = listen_keyed(settings.gateway)
    with bound:
        serve_engines(launch_engines(specs, settings), settings, bound=bound, announce=_say)


def _serve_cluster(address: str, settings: "Settings", *, has_engines: bool) -> None:
    from cluster.client.reach import reach
    from gateway.cluster_serving import serve_cluster
    from gateway.keyed import listen_keyed

    if has_engines:
        what = "a cluster's engines are its own: --engine does not go with --cluster"
        raise ConfigInvalid(what, "Give them to it: sage-cluster start --engine SPEC.")
    with listen_keyed(settings.gateway) as bound:
        serve_cluster(lambda: reach(address), settings, bound, announce=_say)


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
