"""Ends a benchmark: its figures for people, and the document for whoever named a file. Knows no measurement."""

import sys

from benchmarks.document import Document, write
from benchmarks.report import report


def deliver(document: Document, target: str | None) -> None:
    """Show the document as a table, and write it to the file `target`; where that is `-`, to standard output alone.

    The table comes first: what was measured is not lost where the file cannot be written. Raises SinkUnwritable.
    """
    if target != "-":
        sys.stdout.write(report(document) + "\n")
        sys.stdout.flush()
    if target is not None:
        write(document, target)
