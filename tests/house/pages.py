"""The tables of docs/ that are made from the code: commands, settings, errors, modules. `make docs` writes them anew.

What stands before the marker of a page is written by hand and stays.
"""

import ast
import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
import typer

from sage.base.error_codes import error_classes
from sage.base.errors import CallerError, InternalError, SageError, WorldError
from sage.base.metrics import METRICS
from sage.base.settings import Setting, engine_schema, schema, tenant_schema
from sage.cli import find_verbs
from tests.house.sources import PACKAGES, ROOT, sources

MARKER = "<!-- made from the code by `make docs`; what is above is written by hand -->"
_FAULTS: dict[type[SageError], str] = {
    CallerError: "the caller's: change the call",
    WorldError: "the machine's or the moment's: mend it or try later",
    InternalError: "ours: please report it",
}


def made_pages() -> dict[str, str]:
    """Return, by path within the tree, what must stand below the marker of each page."""
    return {
        "docs/commands.md": "\n".join(_commands()),
        "docs/configuration.md": "\n".join(_settings()),
        "docs/errors.md": "\n".join(_errors()),
        "docs/metrics.md": "\n".join(_metrics()),
        "docs/structure.md": "\n".join(_modules()),
    }


def page_with(path: str, made: str) -> str:
    """Return the page at `path` with `made` below its marker."""
    above = (ROOT / path).read_text(encoding="utf-8").partition(MARKER)[0]
    return f"{above}{MARKER}\n\n{made.strip()}\n"


def _modules() -> Iterator[str]:
    """Yield a line a module: its path and the first sentence of its docstring, layer by layer."""
    yield "| module | what it does |\n| --- | --- |"
    for package in PACKAGES:
        for source in sources(package):
            if not source.name.endswith("__init__.py"):
                text = " ".join((ast.get_docstring(source.tree) or "").split()).replace("|", "\\|")
                summary = text.partition(". ")[0].rstrip(".")
                yield f"| `{source.name}` | {summary} |"


def _commands() -> Iterator[str]:
    for name, point in find_verbs().items():
        verb: Any = point.load()
        app = verb if isinstance(verb, typer.Typer) else _app(verb)
        yield from _command(f"sage {name}", typer.main.get_command(app))


def _app(function: Any) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def _command(path: str, command: Any) -> Iterator[str]:
    """Yield the section of one command, or of every command of a group."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _command(f"{path} {name}", inner)
        return
    shown = [
        p for p in command.params if not p.hidden and p.name not in ("help", "install_completion", "show_completion")
    ]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    usage = " ".join([path, *(_usage(p) for p in arguments), *(["[OPTIONS]"] if len(shown) > len(arguments) else [])])
    yield f"## `{usage}`\n\n{inspect.cleandoc(command.help or '')}\n"
    if shown:
        yield "| option | default | meaning |\n| --- | --- | --- |"
        yield from (_parameter(parameter) for parameter in shown)
        yield ""


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper().rstrip(".") + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _parameter(parameter: Any) -> str:
    name = ", ".join(parameter.opts) if parameter.param_type_name == "option" else _usage(parameter)
    default = "" if parameter.default in (None, False, (), []) or callable(parameter.default) else parameter.default
    meaning = " ".join((parameter.help or "").split())
    return f"| `{name}` | {f'`{default}`' if default != '' else ''} | {meaning} |".replace("|  |", "| |")


def _settings() -> Iterator[str]:
    yield "## Settings\n\n| in `sage.toml` | in the environment | default | meaning |\n| --- | --- | --- | --- |"
    for setting in schema():
        yield f"| `{setting.name}` | `{setting.env_name}` | {_default(setting)} | {setting.description} |"
    yield "\n## `[[engine]]`\n\n| key | default | meaning |\n| --- | --- | --- |"
    for setting in engine_schema():
        yield f"| `{setting.key}` | {_default(setting)} | {setting.description} |"
    yield "\n## `[[tenant]]`\n\n| key | default | meaning |\n| --- | --- | --- |"
    for setting in tenant_schema():
        yield f"| `{setting.key}` | {_default(setting)} | {setting.description} |"


def _default(setting: Setting) -> str:
    if setting.default is msgspec.NODEFAULT:
        return "must be given"
    return "none" if setting.default in (None, ()) else f"`{msgspec.json.encode(setting.default).decode()}`"


def _errors() -> Iterator[str]:
    for branch, fault in _FAULTS.items():
        yield f"## {branch.__name__}: {fault}\n\n| code | name | what it means |\n| --- | --- | --- |"
        for code, cls in sorted(error_classes().items()):
            if issubclass(cls, branch):
                yield f"| `{code}` | `{cls.__name__}` | {' '.join((cls.__doc__ or '').split())} |"
        yield ""


def _metrics() -> Iterator[str]:
    yield "| name | kind | labels | meaning |\n| --- | --- | --- | --- |"
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    for path, made in made_pages().items():
        (ROOT / path).write_text(page_with(path, made), encoding="utf-8")
