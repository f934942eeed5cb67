"""Libraries that only some connectors need, loaded when one is opened. Knows no connector."""

from importlib import import_module
from typing import Any

from sage.base.errors import ExtraMissing


def library(module: str, extra: str) -> Any:
    """Return the module of this name, which the extra brings; raises ExtraMissing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ExtraMissing(
            f"{module.partition('.')[0]} is not installed here: {error}", f"Run: pip install 'sage-engine[{extra}]'"
        ) from error
