"""Prompt templates, good and malformed."""

import pytest

from sage.base.errors import FlowInvalid
from sage.flow.template import fields_of_template, parts_of_template


def test_a_template_is_cut_at_its_fields() -> None:
    assert parts_of_template("{a} and {}!") == (("", "a"), (" and ", ""), ("!", None))
    assert fields_of_template("{a} and {}!") == ("a", "")


def test_doubled_braces_are_text() -> None:
    assert "".join(text for text, _ in parts_of_template('{{"json": 1}}')) == '{"json": 1}'
    assert fields_of_template("{{x}}") == ()


@pytest.mark.parametrize("template", ["{", "}", "{a", "{a.b}", "{a[0]}", "{a!r}", "{a:>3}", "{not a name}", "{0}"])
def test_a_malformed_template_is_refused_with_what_to_do(template: str) -> None:
    with pytest.raises(FlowInvalid, match="template") as caught:
        parts_of_template(template)
    assert caught.value.do


def test_a_long_template_is_cut_in_the_message() -> None:
    with pytest.raises(FlowInvalid) as caught:
        parts_of_template("x" * 100_000 + "{")
    assert len(caught.value.what) < 300
