"""A gateway that the tests of a module share. Knows no test."""

from collections.abc import Iterator

import pytest

from tests.http.scripted import ScriptedInference, says
from tests.http.served import served


@pytest.fixture(scope="module")
def inference() -> ScriptedInference:
    return ScriptedInference(says("a"))


@pytest.fixture(scope="module")
def url(inference: ScriptedInference) -> Iterator[str]:
    """The URL of a gateway whose model answers anything, unless a test gives `inference` another script."""
    with served(inference) as gateway:
        yield gateway.url


@pytest.fixture(autouse=True)
def _answers_again(inference: ScriptedInference) -> Iterator[None]:
    yield
    inference.script = says("a")
