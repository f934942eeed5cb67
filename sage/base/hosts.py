"""Names and addresses of hosts: which mean this machine alone. Knows no socket and no request."""

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Say whether nobody but this machine reaches an address. A name may mean anything, `localhost` apart.

    >>> is_loopback("127.0.0.1"), is_loopback("::ffff:127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("localhost")
    (True, True, False, True)
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback  # Python before 3.13 looks at a mapped address as it is written


def is_wildcard(host: str) -> bool:
    """Say whether an address means all interfaces: it can be listened at, and nobody reaches anything by it.

    >>> [is_wildcard(host) for host in ("0.0.0.0", "::", "::ffff:0.0.0.0", "*", "0", "0x0")]
    [True, True, True, True, True, True]
    >>> [is_wildcard(host) for host in ("10.0.0.1", "::1", "node.example")]
    [False, False, False]
    """
    if host == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_zero(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_unspecified


def _is_zero(host: str) -> bool:
    """Say whether the C library takes it for 0.0.0.0: it knows shorter ways to write that."""
    try:
        return socket.inet_aton(host) == bytes(4)
    except OSError:
        return False


def is_local(host: str) -> bool:
    """Say whether a Host header names an address or `localhost`.

    Whoever reaches this machine's loopback is trusted where there are no keys. A page on a foreign name that resolves
    to 127.0.0.1 (DNS rebinding) reaches it too, from the user's own browser: such a name is told apart here.

    >>> is_local("127.0.0.1:8000"), is_local("[::1]:8000"), is_local("app.localhost"), is_local("evil.example")
    (True, True, True, False)
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
