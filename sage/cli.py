"""The `sage` command: finds its verbs by the entry-point group `sage.commands`. Knows no verb.

A verb is a function or a Typer app. Only the verb that is run is imported; the overview reads the first sentence of
each verb's module without running it, so that a broken verb breaks no other.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sage.base.entry_points import EntryPoint, find_entry_points
from sage.base.errors import InternalError, SageError
from sage.base.packages import check_packages

if TYPE_CHECKING:  # typer costs as much as everything else here: it is loaded when a verb runs
    import typer

GROUP = "sage.commands"
_FAILED, _USAGE = 1, 2
_USAGE_LINES = "Usage: sage COMMAND [OPTIONS]\n\nStreams of records through operators and models.\n\nCommands:"

Verb = Callable[..., Any]


def main(args: Sequence[str] | None = None) -> int:
    """Run `sage ARGS` (this process's by default) and return the exit status: 0, 1 failed, 2 wrong usage."""
    args = sys.argv[1:] if args is None else args
    name = args[0] if args else "--help"
    if name in ("--help", "-h"):
        print(overview())
        return 0 if args else _USAGE
    name = "version" if name == "--version" else name
    verbs = find_verbs()
    if name not in verbs:
        print(_no_verb(name, list(verbs)), file=sys.stderr)
        return _USAGE
    try:
        check_packages()
        verb = _load(verbs[name])
    except SageError as error:
        return show_error(error)
    return run_command(verb, f"sage {name}", args[1:])


def find_verbs() -> dict[str, EntryPoint]:
    """Return the entry points of every verb by name, in order of name; loads none."""
    return dict(sorted(find_entry_points(GROUP).items()))


def overview() -> str:
    """Return what `sage --help` prints."""
    summaries = {name: summary_of(point) for name, point in find_verbs().items()}
    width = max(map(len, summaries), default=0)
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
    """Run one command and return its exit status; a SageError is shown as code, cause and remedy.

    Groups have no options, so that their commands are reached without them: a group that Typer parses costs 60 ms.
    """
    import typer
    from typer.core import TyperGroup

    chosen = typer.main.get_command(command if isinstance(command, typer.Typer) else _app_of(command))
    rest = list(args)
    while rest and isinstance(chosen, TyperGroup) and rest[0] in chosen.commands:
        program = f"{program} {rest[0]}"
        chosen = chosen.commands[rest.pop(0)]
    try:
        chosen.main(args=rest, prog_name=program)
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
    print(shown_error(error), file=sys.stderr)
    return _FAILED


def shown_error(error: SageError) -> str:
    """Return `error` as people see it, the user's own frames first."""
    return f"{getattr(error, 'user_traceback', '')}{error}"


def _app_of(function: Verb) -> "typer.Typer":
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    return app


def _load(point: EntryPoint) -> "Verb | typer.Typer":
    try:
        verb = point.load()
    except (ImportError, AttributeError) as error:
        raise InternalError(
            f"the command {point.name} cannot be loaded from {point.module}: {error}",
            "Run: sage doctor. If a package is missing, install sage-engine again.",
        ) from error
    return cast("Verb | typer.Typer", verb)


def _no_verb(name: str, known: Sequence[str]) -> str:
    import difflib

    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = (
        f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known) or 'none, reinstall sage-engine'}."
    )
    return f"sage: no command is named {name!r}. {hint}"
