"""What is posted to the flows of this process. Loads no server before a flow listens."""

from typing import Any

from sage.flow.connectors.http_source import HttpSource
from sage.flow.ports import PositionedReader


def listen(source: HttpSource, position: Any) -> PositionedReader[Any]:
    """Start to read what is posted to `source`; raises SourceUnreadable."""
    from cluster.web.post_reader import PostReader

    return PostReader(source, position)
