"""What is posted to the flows of this process. Loads no server before a flow listens."""

from typing import Any

from sage.flow.connectors.http_source import HttpSource
from sage.flow.ports import PositionedReader


def listen(source: HttpSource, position: Any, instance: int, num_instances: int) -> PositionedReader[Any]:
    """Start to read what is posted to one instance of `source`; raises SourceUnreadable."""
    from cluster.web.dealt_posts import DealtPostReader
    from cluster.web.post_reader import PostReader

    if num_instances == 1:
        return PostReader(source, position)
    return DealtPostReader(source, position, instance, num_instances)
