"""Serves what a cluster has, models and flows, until told to stop. Knows no engine and no flag."""

import asyncio
import socket
from collections.abc import Callable

import uvloop

from cluster.client.cluster import RemoteCluster
from cluster.web.listening import url_of
from gateway.admin import PlaneOfCluster
from gateway.app import create_app
from gateway.cluster_models import ClusterModels
from gateway.ended import EndedCollector, EndedRequests
from gateway.keyed import administered, guard_of, say_administered
from gateway.server import run_server
from gateway.serving import DRAIN_S, begin_stop, stop_signals
from sage.base.settings import Settings


def serve_cluster(
    reach: Callable[[], RemoteCluster], settings: Settings, bound: socket.socket, *, announce: Callable[[str], None]
) -> None:
    """Serve the cluster that `reach` finds until SIGTERM or SIGINT; then drain. Blocks.

    Raises: what `reach` raises at first; a cluster that is lost later is looked for again.
    """
    cluster = reach()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(cluster, reach, settings, bound, announce))


async def _serve(
    cluster: RemoteCluster,
    reach: Callable[[], RemoteCluster],
    settings: Settings,
    bound: socket.socket,
    announce: Callable[[str], None],
) -> None:
    models, ended, stop = ClusterModels(cluster, reach), EndedRequests(), asyncio.Event()
    entrance = create_app(
        models,
        settings.gateway,
        engines=models.engines,
        flows=models.flows,
        refresh=models.refresh,
        on_ended=ended.count,
        collectors=[EndedCollector(ended)],
        guard=guard_of(settings.gateway),
    )

    def say_ready() -> None:
        announce(f"Serving cluster {cluster.name} ({cluster.where}) at {url_of(bound)}")

    try:
        with stop_signals(lambda: begin_stop(stop, entrance)):
            async with administered(PlaneOfCluster(models), settings.gateway) as admin_url:
                say_administered(admin_url, announce)
                await run_server(entrance, bound, stop, drain_s=DRAIN_S, on_ready=say_ready)
    finally:
        await models.close()
