"""Which engines a gateway serves, and their start: as named, as configured, or the embedded ones. Knows no HTTP."""

from collections.abc import Sequence

from cluster.commands.pull import ensure_models
from cluster.jobs.no_room import amounts
from cluster.serving.closing import close_links
from cluster.serving.driver import HeldLink
from cluster.serving.engines.launch import launch
from cluster.serving.engines.spec import EngineSpec, engine_ids, spec_from_settings, spec_from_text
from cluster.serving.model_store import open_store
from sage.base.catalog import CATALOG
from sage.base.demand import Demand
from sage.base.errors import ConfigInvalid
from sage.base.ids import EngineId
from sage.base.settings import Settings

CLOSE_S = 2.0


def wanted_engines(texts: Sequence[str], settings: Settings) -> tuple[EngineSpec, ...]:
    """Return the engines of `--engine`, else of `[[engine]]`, else the embedded chat and embedding models.

    Raises: ConfigInvalid, UnknownModel.
    """
    if texts:
        specs = tuple(spec_from_text(text) for text in texts)
    elif settings.engines:
        specs = tuple(spec_from_settings(engine) for engine in settings.engines)
    else:
        names = dict.fromkeys((settings.models.chat, settings.models.embed))
        specs = tuple(spec_from_text(f"openvino:{name}") for name in names)
    ids = [engine_id for spec in specs for engine_id in engine_ids(spec)]
    for engine_id in ids:
        if ids.count(engine_id) > 1:
            raise ConfigInvalid(f"two engines are named {engine_id!r}", "Name each: --engine KIND:TARGET,name=NAME")
    return specs


def launch_engines(specs: Sequence[EngineSpec], settings: Settings) -> tuple[HeldLink, ...]:
    """Start every replica's host and return their links at once; missing models are offered for pull first.

    Raises: ConfigInvalid where an engine is to have CPUs, memory, GPUs or labels of its own, which a gateway alone
    keeps for nobody; ModelMissing; EngineStartFailed, with nothing left running.
    """
    _check_amounts(specs)
    catalogued = {entry.name for entry in CATALOG}
    ensure_models([spec.target for spec in specs if spec.target in catalogued], store=open_store(settings.models))
    held: list[HeldLink] = []
    try:
        for spec in specs:
            held += [_launched(spec, engine_id) for engine_id in engine_ids(spec)]
    except BaseException:
        close_links(held, CLOSE_S)
        raise
    return tuple(held)


def _check_amounts(specs: Sequence[EngineSpec]) -> None:
    for spec in specs:
        if spec.demand != Demand():
            raise ConfigInvalid(
                f"engine {spec.name!r} is to have {amounts(spec.demand)}, and a gateway keeps nothing for engines",
                "Serve the engines of a cluster, which does: sage-cluster start, then sage-gateway serve --cluster.",
                param="engine",
            )


def _launched(spec: EngineSpec, engine_id: EngineId) -> HeldLink:
    """Start a host that is started anew, in the same way, where it is lost."""
    return HeldLink(launch(spec, engine_id), again=lambda: launch(spec, engine_id))
