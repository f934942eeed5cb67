"""The commands `sage-benchmark report` and `compare`: result files shown again. Knows no benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.document import Document, read
from cluster.commands.show import Json, print_json

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Result files that --json wrote.")]
Plots = Annotated[Path | None, typer.Option("--plots", metavar="FOLDER", help="Write a PNG for each figure.")]
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write all as one page of HTML.")]


def report(files: Files, plots: Plots = None, html: Page = None, json: Json = False) -> None:
    """Print the figures of result files; draw them, and put all into one page, where that is wanted."""
    from benchmarks.report import report as report_of

    if json and (plots is not None or html is not None):
        raise typer.BadParameter("it goes neither with --plots nor with --html", param_hint="--json")
    documents = [read(file) for file in files]
    if plots is not None or html is not None:
        _draw([(file.stem, document) for file, document in zip(files, documents, strict=True)], plots, html)
    elif json:
        print_json(documents)
    else:
        print("\n\n".join(map(report_of, documents)))


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The result file that is compared with.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="The result file whose figures are set in proportion.")],
    json: Json = False,
) -> None:
    """Print by how much the figures of B are those of A, with 95 % intervals where both have seeds."""
    from benchmarks.compare import compare as compare_documents
    from benchmarks.compare import comparison_table

    found = compare_documents(read(first), read(other))
    if json:
        print_json(found)
    else:
        print(comparison_table(found))


def _draw(named: list[tuple[str, Document]], plots: Path | None, html: Path | None) -> None:
    from benchmarks.plots import page, write_pictures
    from sage.base.errors import SinkUnwritable

    for path in [] if plots is None else write_pictures(named, plots):
        print(path)
    if html is not None:
        text = page(named)
        try:
            html.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SinkUnwritable(f"cannot write {html}: {error}", "Name a file in a folder that exists.") from error
        print(html)
