"""What may be listened on, with keys and without."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.addresses import IpcAddress, TcpAddress, check_bind, parse_address
from sage.base.errors import ConfigInvalid, KeysUnsafe, SageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:7077", TcpAddress("127.0.0.1", 7077)),
        ("tcp://[::1]:7077", TcpAddress("::1", 7077)),
        ("tcp://head.lab.example:*", TcpAddress("head.lab.example", None)),
        ("tcp://*:7077", TcpAddress("*", 7077)),
        ("ipc:///run/sage/control", IpcAddress(Path("/run/sage/control"))),
    ],
)
def test_an_address_is_read(text: str, address: object) -> None:
    assert parse_address(text) == address


NO_ADDRESS = """
tcp:// tcp://a tcp://a: tcp://a:b tcp://::1:7077 tcp://[a]:1 tcp://a:65536 tcp://a:1/b tcp://a:1;b:2
inproc://a http://a:1 udp://a:1 ipc://relative ipc://@abstract
"""


@pytest.mark.parametrize("text", ["", " tcp://a:1", *NO_ADDRESS.split()])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        parse_address(text)


OPEN = ["0.0.0.0", "*", "10.0.0.1", "[::]", "[fe80::1]", "head.lab.example", "eth0", "[::ffff:10.0.0.1]", "127.1"]
OWN = ["127.0.0.1", "127.255.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"]


@pytest.mark.parametrize("host", OPEN)
def test_an_address_open_to_others_needs_keys(host: str) -> None:
    with pytest.raises(KeysUnsafe, match="other machines") as raised:
        check_bind(f"tcp://{host}:7077", has_keys=False)
    assert "127.0.0.1" in raised.value.do
    check_bind(f"tcp://{host}:7077", has_keys=True)


@pytest.mark.parametrize("host", OWN)
def test_this_machines_own_address_needs_none(host: str) -> None:
    assert check_bind(f"tcp://{host}:7077", has_keys=False) == check_bind(f"tcp://{host}:7077", has_keys=True)


def test_a_socket_in_the_file_system_needs_none() -> None:
    assert check_bind("ipc:///run/sage/control", has_keys=False) == IpcAddress(Path("/run/sage/control"))


@given(st.text(max_size=60))
def test_without_keys_nothing_but_loopback_passes(text: str) -> None:
    for attempt in (text, f"tcp://{text}", f"tcp://{text}:1"):
        try:
            address = check_bind(attempt, has_keys=False)
        except SageError:
            continue
        assert isinstance(address, IpcAddress) or address.host.startswith(("127.", "::1", "localhost", "0"))
