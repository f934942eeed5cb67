"""What the headers of a call say: its class, its deadline, what it brings. Knows nothing of bodies."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import RequestRefused
from gateway.guard import Caller, tenant_named
from sage.base.inference import ServiceClass

MAX_DEADLINE_MS = 24 * 60 * 60 * 1000
_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(frozen=True, slots=True)
class CallHeaders:
    """`service_class` None: the route's own. `timeout_s` None: no deadline."""

    content_type: bytes = b""
    content_length: int | None = None
    service_class: ServiceClass | None = None
    timeout_s: float | None = None
    tenant: str = "default"


def given_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the caller's `x-request-id` where it can be echoed safely: letters, digits and `._:/+=-`, at most 128."""
    for name, value in headers:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return value.decode("ascii")
    return None


def call_of(headers: Iterable[tuple[bytes, bytes]], caller: Caller) -> CallHeaders:
    """Return the call; raises RequestRefused that names the header at fault."""
    content_type, content_length, service_class, timeout_s = b"", None, None, None
    tenant = caller.tenant
    for name, value in headers:
        match name:
            case b"content-type":
                content_type = value.split(b";", 1)[0].strip().lower()
            case b"content-length":
                content_length = int(value)
            case b"x-sage-priority":
                service_class = _service_class(value)
            case b"x-sage-deadline-ms":
                timeout_s = _deadline_ms(value) / 1000
            case b"x-sage-tenant":
                tenant = tenant_named(value, caller)
            case b"x-request-id" if not _ID.fullmatch(value):
                what = "x-request-id holds 1 to 128 letters, digits and ._:/+=- only."
                raise RequestRefused(what, param="x-request-id")
    return CallHeaders(content_type, content_length, service_class, timeout_s, tenant)


def _service_class(value: bytes) -> ServiceClass:
    try:
        return ServiceClass(value.decode("latin-1").strip().lower())
    except ValueError:
        names = ", ".join(ServiceClass)
        raise RequestRefused(f"x-sage-priority is one of {names}.", param="x-sage-priority") from None


def _deadline_ms(value: bytes) -> int:
    if value.isdigit() and len(value) <= 9 and 1 <= int(value) <= MAX_DEADLINE_MS:
        return int(value)
    what = f"x-sage-deadline-ms is a whole number from 1 to {MAX_DEADLINE_MS}."
    raise RequestRefused(what, param="x-sage-deadline-ms")
