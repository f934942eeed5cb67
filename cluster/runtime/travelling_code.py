"""How the code of a flow travels: named, where every node has it, or signed. Knows nothing of what it makes."""

import msgspec


class FileCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="file"):
    """A flow in code that every node has: `target` is `module:flow` or `FILE:flow`.

    `sha256`: of its file and of the files of its project that it imports. `graph_sha256`: of the graph that it makes,
    which differs where the flow depends on what only its user's process knows; "": not known.
    """

    target: str
    sha256: str
    graph_sha256: str = ""


class ShippedCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="shipped"):
    """A flow within a signed envelope, to be opened only by `cluster.jobs.code`."""

    envelope: bytes


Code = FileCode | ShippedCode
