"""What is no address of an administration, and what is no key, is refused before anybody is asked."""

import pytest

from cluster.commands.gateway_engines import engines_of_gateway, log_of_gateway
from cluster.runtime.control_engine_log import LogMark
from sage.base.errors import ClusterUnreachable, ConfigInvalid

HERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:9", "http://127.0.0.1:99999", "http://127.0.0.1:nine", "http://[::1", f"{HERE}/v1", f"{HERE}?x=1"],
)
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="is no address of an administration"):
        engines_of_gateway(url, "")


def test_a_host_that_can_have_no_name_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRY_KEY", "sage-1")
    with pytest.raises(ClusterUnreachable, match="nobody answers"):
        engines_of_gateway("http://a..b:9", "TRY_KEY")


@pytest.mark.parametrize(("value", "says"), [("", "is not set"), ("sage-1\n", "holds no key"), ("sage→", "no key")])
def test_what_can_be_no_key_is_not_sent(value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRY_KEY", value)
    with pytest.raises(ConfigInvalid, match=f"TRY_KEY .*{says}"):
        engines_of_gateway(HERE, "TRY_KEY")


def test_a_log_is_asked_for_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRY_KEY", "sage-1")
    with pytest.raises(ConfigInvalid, match="is no address of an administration"):
        log_of_gateway("http://[::1", "TRY_KEY", "e", None)
    with pytest.raises(ConfigInvalid, match="to nobody without a key"):
        log_of_gateway(HERE, "", "e", None)
    with pytest.raises(ClusterUnreachable, match="nobody answers"):
        log_of_gateway(HERE, "TRY_KEY", "e", LogMark(1, 2))
