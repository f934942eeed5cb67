"""Finding who runs flows at an address."""

import json

import pytest

import sage
from sage.base.entry_points import EntryPoint
from sage.base.errors import UnknownAddress
from sage.flow.connect import runner_of_address

OFFERS = {"local": EntryPoint("local", "json", "loads"), "tcp": EntryPoint("tcp", "json", "dumps")}


@pytest.mark.parametrize(
    ("address", "function"),
    [(None, json.loads), ("local", json.loads), ("local:4", json.loads), ("tcp://10.0.0.1:99", json.dumps)],
)
def test_the_scheme_of_an_address_names_its_runner(address: str | None, function: object) -> None:
    assert runner_of_address(address, OFFERS) is function


def test_an_unknown_address_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownAddress, match="'locl:2'") as caught:
        runner_of_address("locl:2", OFFERS)
    assert caught.value.do == 'Did you mean "local"? Known are: local, tcp; no address means this process.'


def test_without_any_runner_the_advice_is_to_install_one() -> None:
    with pytest.raises(UnknownAddress, match="'local'") as caught:
        runner_of_address(None, {})
    assert "pip install" in caught.value.do


def test_a_flow_is_refused_before_anything_is_started_where_nobody_serves_the_address() -> None:
    flow = sage.Flow("f")
    flow.from_collection([1]).collect()
    with pytest.raises(UnknownAddress):
        flow.run("no-such-place://x")


def test_an_address_that_is_no_text_is_refused_as_such() -> None:
    with pytest.raises(UnknownAddress, match=r"an address is text, got 5 \(int\)"):
        runner_of_address(5, OFFERS)  # type: ignore[arg-type]  # what a user without a type checker may write
