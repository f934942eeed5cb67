"""Measure streams and serving, each result with where and how it came about. Knows no measurement itself."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.document import read
from benchmarks.report import report as report_of
from cluster.commands.show import Json, print_json
from sage.cli import new_app, run_command

app = new_app("Measure streams and serving.")


def main() -> int:
    """Run `sage-benchmark` and return its exit status."""
    return run_command(app, "sage-benchmark", sys.argv[1:])


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Result files that --json wrote.")],
    json: Json = False,
) -> None:
    """Print the figures of result files."""
    documents = [read(file) for file in files]
    if json:
        print_json(documents)
    else:
        print("\n\n".join(map(report_of, documents)))
