"""The catalogue of models: pinned, and of one piece."""

import re

import pytest

from sage.base.catalog import CATALOG, ModelEntry, entry_of
from sage.base.errors import UnknownModel


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_every_file_and_every_wheel_is_pinned(entry: ModelEntry) -> None:
    assert len({file.role for file in entry.files}) == len(entry.files)
    for file in entry.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(r"[0-9a-f]{64}", file.wheel.sha256)
        assert file.member.endswith(file.file_name)
    assert entry.card().name == entry.name


def test_a_misspelt_model_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="Did you mean smollm2"):
        entry_of("smolm2")


def test_a_model_unlike_any_lists_what_there_is() -> None:
    with pytest.raises(UnknownModel, match="smollm2, minilm"):
        entry_of("qwen")
