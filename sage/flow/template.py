"""Prompt templates: text with the names of fields in braces. Knows nothing of records."""

from string import Formatter

from sage.base.errors import FlowInvalid

Part = tuple[str, str | None]
"""A literal text and the field that follows it: a name, "" for the whole record, None for nothing."""


def parts_of_template(template: str) -> tuple[Part, ...]:
    """Cut `template` at its fields; `{{` and `}}` are braces. Raises FlowInvalid where a field is no plain name.

    >>> parts_of_template("Q: {question} A:")
    (('Q: ', 'question'), (' A:', None))
    """
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise FlowInvalid(
            f"the template {_short(template)} is malformed: {error}", "Double the braces that are text: {{ and }}."
        ) from error
    return tuple((literal, _checked(name, spec, conversion, template)) for literal, name, spec, conversion in pieces)


def fields_of_template(template: str) -> tuple[str, ...]:
    """Return the fields that `template` names, in order; "" is the whole record."""
    return tuple(name for _, name in parts_of_template(template) if name is not None)


def _checked(name: str | None, spec: str | None, conversion: str | None, template: str) -> str | None:
    if name is None or (not spec and not conversion and (name == "" or name.isidentifier())):
        return name
    shown = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
    raise FlowInvalid(
        f"the template {_short(template)} has the field {{{shown}}}, which is no plain name",
        "Name a field ({question}), the whole record ({}), or give a function of the record.",
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
