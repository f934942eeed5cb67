"""The `sage` command: finds its verbs by the entry-point group `sage.commands`. Knows no verb.

A verb is a function or a Typer app. Only the verb that is run is imported; the overview reads the first sentence of
each verb's module without running it, so that a broken verb breaks no other.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage.base.errors import InternalError, SageError
from sage.base.packages import check_packages

if TYPE_CHECKING:  # typer costs as much as everything else here: it is loaded when a verb runs
    import typer

GROUP = "sage.commands"
_FAILED, _USAGE = 1, 2
_USAGE_LINES = "Usage: sage COMMAND [OPTIONS]\n\nStreams of records through operators and models.\n\nCommands:"
_VERSION = "Print the versions of sage-engine and Python."

Verb = Callable[..., Any]


def main(args: Sequence[str] | None = None) -> int:
    """Run `sage ARGS` (this process's by default) and return the exit status: 0, 1 failed, 2 wrong usage."""
    args = sys.argv[1:] if args is None else args
    name = args[0] if args else "--help"
    if name in ("--help", "-h"):
        print(overview())
        return 0 if args else _USAGE
    if name in ("version", "--version"):
        return run_command(version, "sage version", args[1:])
    verbs = find_verbs()
    if name not in verbs:
        print(_no_verb(name, [*verbs, "version"]), file=sys.stderr)
        return _USAGE
    try:
        check_packages()
        verb = _load(verbs[name])
    except SageError as error:
        return show_error(error)
    return run_command(verb, f"sage {name}", args[1:])


def find_verbs() -> dict[str, EntryPoint]:
    """Return the entry points of every verb by name, in order of name; loads none."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def overview() -> str:
    """Return what `sage --help` prints."""
    summaries = {name: summary_of(point) for name, point in find_verbs().items()} | {"version": _VERSION}
    width = max(len(name) for name in summaries)
    lines = [f"  {name:<{width}}  {summary}" for name, summary in summaries.items()]
    return "\n".join([_USAGE_LINES, *lines, "", "Run 'sage COMMAND --help' to see its options."])


def summary_of(point: EntryPoint) -> str:
    """Return the first sentence of the docstring of the verb's module, which is read, not run."""
    import ast

    try:
        spec = find_spec(point.module)
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        text = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    except (ImportError, OSError, SyntaxError, ValueError):
        text = ""
    return f"{text.partition('. ')[0].rstrip('.')}." if text else f"(not available: {point.module} cannot be read)"


def run_command(command: "Verb | typer.Typer", program: str, args: Sequence[str]) -> int:
    """Run one command and return its exit status; a SageError is shown as code, cause and remedy."""
    import typer

    app = command if isinstance(command, typer.Typer) else _app_of(command)
    try:
        typer.main.get_command(app).main(args=list(args), prog_name=program)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else _FAILED
    except SageError as error:
        return show_error(error)
    return 0


def new_app(help: str) -> "typer.Typer":
    """Return an empty group of commands in the house style: plain help, no completion, a group even of one command."""
    import typer

    app = typer.Typer(
        help=help, add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(lambda: None)
    return app


def show_error(error: SageError) -> int:
    """Print `error` to standard error, the user's own frames first, and return the exit status."""
    user_traceback = getattr(error, "user_traceback", "")
    print(f"{user_traceback}{error}" if user_traceback else str(error), file=sys.stderr)
    return _FAILED


def version(json: bool = False) -> None:
    """Print the versions of sage-engine and Python.

    With --json: as JSON.
    """
    import platform
    from importlib.metadata import version as version_of

    import msgspec

    found = {"sage-engine": version_of("sage-engine"), "python": platform.python_version()}
    if json:
        print(msgspec.json.encode(found).decode())
        return
    print("\n".join(f"{name} {number}" for name, number in found.items()))


def _app_of(function: Verb) -> "typer.Typer":
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    return app


def _load(point: EntryPoint) -> "Verb | typer.Typer":
    try:
        verb: Verb | typer.Typer = point.load()
    except (ImportError, AttributeError) as error:
        raise InternalError(
            f"the command {point.name} cannot be loaded from {point.value}: {error}",
            "Run: sage doctor. If a package is missing, install sage-engine again.",
        ) from error
    return verb


def _no_verb(name: str, known: Sequence[str]) -> str:
    import difflib

    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known)}."
    return f"sage: no command is named {name!r}. {hint}"
