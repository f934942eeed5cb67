"""Serve models over OpenAI's API. Knows no server: one is loaded where it is started."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sage.cli import new_app, run_command

app = new_app("Serve models over OpenAI's API.")


def main() -> int:
    """Run `sage-gateway` and return its exit status."""
    return run_command(app, "sage-gateway", sys.argv[1:])


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; by default sage.toml here.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="KIND:TARGET[,KEY=VALUE...]; may be given several times.")
    ] = None,
) -> None:
    """Serve engines until SIGTERM or Ctrl-C; by default the embedded chat and embedding models."""
    import os

    from gateway.launching import launch_engines, wanted_engines
    from gateway.server import listen
    from gateway.serving import serve as serve_engines
    from sage.base.config import load_settings
    from sage.base.log import set_up_log

    settings = load_settings({"gateway.host": host, "gateway.port": port}, path=config)
    set_up_log(settings.log)
    if settings.models.cache_dir is not None:  # engine hosts read it there: they do not know of --config
        os.environ["SAGE_MODELS_CACHE_DIR"] = settings.models.cache_dir
    specs = wanted_engines(engine or (), settings)
    bound = listen(settings.gateway.host, settings.gateway.port)
    with bound:
        serve_engines(launch_engines(specs, settings), settings, bound=bound, announce=_say)


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
