"""Answer questions about Python from its language reference, with models on this machine.

Knows nothing of how steps run; what is heavy is imported when the demo runs.
"""

from typing import Annotated

import typer

from cluster.commands.show import INTERRUPTED, Json

Asked = Annotated[
    list[str] | None,
    typer.Option("--question", "-q", help="Ask this instead of the built-in questions; may be repeated."),
]
Model = Annotated[str | None, typer.Option("--model", help="Chat model, by default that of the settings.")]

Serve = Annotated[
    bool, typer.Option("--serve", help="Then serve the models, and the demo itself as python-docs, until Ctrl-C.")
]


def demo(question: Asked = None, model: Model = None, serve: Serve = False, json: Json = False) -> None:
    """Index the Python language reference, then answer questions from it; both are streams of one flow.

    Questions come from --question, else from standard input, one a line, else there are ten built-in ones.
    """
    try:
        from gateway.demo.main import run_demo
        from gateway.demo.questions import asked_questions
        from sage.base.config import load_settings

        run_demo(asked_questions(question or []), load_settings({"models.chat": model}), serve=serve, as_json=json)
    except KeyboardInterrupt as stop:
        typer.echo("\n".join(["cancelled", *getattr(stop, "__notes__", ())]), err=True)
        raise typer.Exit(INTERRUPTED) from stop
