"""Keeps the log quiet: in a simulation things break on purpose, and thousands of times."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()
    while structlog.is_configured():  # what ended meanwhile logged: half of what it set is left
        structlog.reset_defaults()
