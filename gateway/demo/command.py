"""Answer questions about Python from its language reference, with models on this machine.

Knows nothing of how steps run; what is heavy is imported when the demo runs.
"""

from typing import Annotated

import typer

from cluster.commands.show import Json

Asked = Annotated[
    list[str] | None,
    typer.Option("--question", "-q", help="Ask this instead of the built-in questions; may be repeated."),
]
Model = Annotated[str | None, typer.Option("--model", help="Chat model, by default that of the settings.")]


def demo(question: Asked = None, model: Model = None, json: Json = False) -> None:
    """Index the Python language reference, then answer questions from it; both are streams of one flow.

    Questions come from --question, else from standard input, one a line, else there are ten built-in ones.
    """
    from gateway.demo.main import run_demo
    from gateway.demo.questions import asked_questions
    from sage.base.config import load_settings

    run_demo(asked_questions(question or []), load_settings({"models.chat": model}), as_json=json)
