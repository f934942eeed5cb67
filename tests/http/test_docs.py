"""docs/http.md names every route, field and code that there is."""

import re
from pathlib import Path

import msgspec
import pytest

from gateway.errors import RequestRefused, problem_of
from gateway.schema import HARMLESS, ChatBody, CompletionBody, EmbeddingsBody
from gateway.scores import RerankBody, ScoreBody
from gateway.tokenizing import DetokenizeBody, TokenizeBody
from sage.base.error_codes import error_classes

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`]+)`", PAGE))
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "gateway").glob("*.py")]


@pytest.mark.parametrize(
    "body", [ChatBody, CompletionBody, EmbeddingsBody, RerankBody, ScoreBody, TokenizeBody, DetokenizeBody]
)
def test_every_field_is_documented(body: type[msgspec.Struct]) -> None:
    assert {field.name for field in msgspec.structs.fields(body)} <= NAMED


def test_every_harmless_value_is_documented() -> None:
    rows = {field: [msgspec.json.encode(value).decode() for value in values] for field, values in HARMLESS.items()}
    for field, values in rows.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{field}` |")]
        assert [text.replace(" ", "") for text in re.findall(r"`([^`]+)`", row)[1:]] == values


def test_every_code_is_documented_under_its_status() -> None:
    problems = [problem_of(RequestRefused("a"), "r"), *(problem_of(cls("a"), "r") for cls in error_classes().values())]
    for problem in problems:
        rows = [line for line in PAGE.splitlines() if line.startswith(f"| {problem.status} |")]
        assert any(f"`{problem.body.code}`" in row for row in rows), problem
    reasons = {reason for text in SOURCES for reason in re.findall(r'reason="(\w+)"', text)}
    assert reasons <= NAMED
    assert len(reasons) > 5
