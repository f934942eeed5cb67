"""Show the settings in force and where each comes from. Knows no setting by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.show import Json, print_json
from sage.cli import new_app

if TYPE_CHECKING:
    from sage.base.settings import Settings

config = new_app("Show the settings in force.")


@config.command()
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file, by default ./sage.toml.")] = None,
    json: Json = False,
) -> None:
    """Print every setting in force."""
    import msgspec

    from sage.base.config import trace_settings

    traced = trace_settings(path=config)
    if json:
        shown = {"settings": traced.settings}
        print_json(shown | {"origins": traced.origins} if origin else shown)
        return
    for name, value in _flat(traced.settings).items():
        came_from = f"  # {traced.origins.get(name) or traced.origins[name.partition('[')[0]]}" if origin else ""
        print(f"{name} = {msgspec.json.encode(value).decode()}{came_from}")


def _flat(settings: "Settings") -> dict[str, object]:
    """Return settings by name, in the order of the schema; engines and tenants last."""
    import msgspec

    from sage.base.settings import schema

    sections = msgspec.to_builtins(settings)
    flat = {setting.name: sections[setting.section][setting.key] for setting in schema()}
    flat |= {f"engine[{i}]": engine for i, engine in enumerate(sections["engines"])}
    return flat | {f"tenant[{i}]": tenant for i, tenant in enumerate(sections["tenants"])}
