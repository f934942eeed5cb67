"""Fields of records: read, rendered, set."""

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest

from operators.fields import field_of, setter, template_getter, text_getter, with_field
from sage.base.errors import FlowInvalid, InvalidRequest


class Book(msgspec.Struct, frozen=True):
    title: str
    year: int = 0


@dataclass(frozen=True)
class Page:
    title: str
    year: int = 0


class Entry(NamedTuple):
    title: str
    year: int = 0


class Thing:
    def __init__(self) -> None:
        self.title = "T"


RECORDS: list[Any] = [{"title": "T"}, UserDict({"title": "T"}), Book("T"), Page("T"), Entry("T"), Thing()]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_field_is_read_from_whatever_has_fields(record: Any) -> None:
    assert field_of(record, "title") == "T"
    assert template_getter("<{title}>")(record) == "<T>"
    with pytest.raises(InvalidRequest, match="no field 'author'") as caught:
        field_of(record, "author")
    assert caught.value.param == "author"


@pytest.mark.parametrize("record", ["abc", b"abc", 1, [1], (1,), None])
def test_methods_of_plain_values_are_no_fields(record: Any) -> None:
    for name in ("title", "count", "real", "append", "__class__"):
        with pytest.raises(InvalidRequest, match="has no fields"):
            field_of(record, name)


@pytest.mark.parametrize("record", RECORDS[:5], ids=lambda record: type(record).__name__)
def test_setting_a_field_copies_the_record(record: Any) -> None:
    copy = with_field(record, "year", 1999)
    assert field_of(copy, "year") == 1999
    assert field_of(copy, "title") == "T"
    assert copy is not record
    assert "1999" not in repr(record)


@pytest.mark.parametrize("record", ["abc", 1, Book("T"), Page("T"), Entry("T"), Thing()])
def test_a_field_that_a_record_cannot_have_is_refused(record: Any) -> None:
    with pytest.raises(InvalidRequest, match="'author' cannot be set on a record of type"):
        with_field(record, "author", "A")


def test_a_template_may_hold_the_record_itself_braces_and_any_value() -> None:
    assert template_getter("{{{}}}")(7) == "{7}"
    assert template_getter("no field")({"a": 1}) == "no field"
    assert template_getter("{a}{b}")({"a": None, "b": 1.5}) == "None1.5"


def test_a_malformed_template_is_found_before_anything_runs() -> None:
    with pytest.raises(FlowInvalid):
        template_getter("{oops")


def test_a_function_must_make_a_text() -> None:
    assert text_getter(str.upper)("a") == "A"
    with pytest.raises(InvalidRequest, match="what the function returned is no text but a int"):
        text_getter(len)("a")


def test_without_into_the_reply_is_the_record() -> None:
    assert setter(None)("record", "reply") == "reply"
    assert setter(lambda record, reply: record + reply)("a", "b") == "ab"
