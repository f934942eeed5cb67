"""The docs are complete: every command, option, setting, error code and metric, as the code has it now."""

import re

import pytest

from tests.house.pages import MARKER, made_pages, page_with
from tests.house.sources import ROOT

MADE = made_pages()
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", MADE)
def test_a_page_says_what_the_code_says(path: str) -> None:
    page = (ROOT / path).read_text(encoding="utf-8")
    assert MARKER in page
    assert page == page_with(path, MADE[path]), "run: make docs"


def test_every_command_and_every_option_says_what_it_does() -> None:
    commands = MADE["docs/commands.md"]
    silent = [line for line in commands.splitlines() if line.endswith(("| |", "|  |"))]
    assert not silent
    assert not re.findall(r"^## .*\n\n\n", commands, re.MULTILINE)


def test_every_link_within_the_docs_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        if page.exists()
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken
