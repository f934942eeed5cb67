"""Each contrast of docs/related-work.md is shown by a test that exists, or says "not yet"."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "related-work.md"
ROW = re.compile(r"^\| (?!contrast|---)(?P<contrast>.+?) \| (?P<shown>.+?) \|$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\((?P<path>[^)]+)\) `(?P<test>test_\w+)`")


def test_each_contrast_is_shown_by_a_test_that_exists_or_is_not_yet() -> None:
    rows = [match.group("contrast", "shown") for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    assert len(rows) > 10
    for contrast, shown in rows:
        if shown == "not yet":
            continue
        links = list(LINK.finditer(shown))
        assert links, f"no test shows: {contrast}"
        for link in links:
            source = (PAGE.parent / link["path"]).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {link['test']}\b", source, re.MULTILINE), f"{link['test']} is not there"
