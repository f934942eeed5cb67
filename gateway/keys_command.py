"""Keys of a gateway: who may ask it, and as whom. Knows no gateway: those that run see every change by themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.show import Json, print_json, print_table
from gateway.keys import GatewayKey, Scope
from sage.base.clock import SystemClock
from sage.cli import new_app

if TYPE_CHECKING:  # slow to import: it is loaded when a command runs
    from gateway.key_file import KeyFile

keys = new_app("Keys of the gateway: who may ask it, and as whom.")

Config = Annotated[Path | None, typer.Option(help="Settings; by default sage.toml here.")]


@keys.command()
def add(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="On whose account its calls are.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it is good for; may be given several times; by default models.")
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Make a key and print it, once: it is kept as its hash alone. With the scope admin it may be any tenant."""
    scopes = tuple(dict.fromkeys(scope)) if scope else (Scope.MODELS,)
    key, written = _file(config).add(tenant, scopes, SystemClock().unix_s(), note)
    if json:
        print_json({**_shown(key), "key": written})
    else:
        print(written)
        print(f"  for {key.tenant} ({', '.join(key.scopes)}); it is not shown again", flush=True)
        print(f"  end it: sage-gateway keys revoke {key.id}")


@keys.command("list")
def list_keys(config: Config = None, json: Json = False) -> None:
    """Show all keys by their ids, revoked ones too."""
    found = _file(config).current().keys
    if json:
        print_json([_shown(key) for key in found])
    else:
        rows = [[key.id, key.tenant, ", ".join(key.scopes), _state(key), key.note] for key in found]
        print_table([["id", "tenant", "scopes", "state", "note"], *rows])


@keys.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of the key, as `keys list` shows it.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """End a key; gateways that run refuse it from their next call on."""
    _file(config).revoke(id, SystemClock().unix_s())
    print_json({"id": id, "state": "revoked"}) if json else print(f"key {id} is good no more")


def _file(config: Path | None) -> "KeyFile":
    from gateway.key_file import key_file
    from sage.base.config import load_settings

    return key_file(load_settings(path=config).gateway)


def _shown(key: GatewayKey) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "state": _state(key),
        "note": key.note,
        "created_unix_s": key.created_unix_s,
    }


def _state(key: GatewayKey) -> str:
    return "good" if key.is_live else "revoked"
