"""Where the answers of calls are kept beyond a run, as users say it. Knows nothing of how that is done."""

import os
from dataclasses import dataclass

MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class CallCache:
    """Keep the answers of a step's calls in a folder, for every run and process that names it.

    What is asked again is answered from there: the same function or model, its options and the same value. Calls that
    failed are not kept. The oldest answers make room beyond `max_bytes`. `name`: what the function of `map_async` is
    known by; by default its own code, not that of what it calls. Each node keeps its own, unless all reach the folder.

    >>> import sage
    >>> sage.CallCache("answers", max_bytes=10_000_000).name
    ''
    """

    folder: str | os.PathLike[str]
    max_bytes: int = MAX_BYTES
    name: str = ""
