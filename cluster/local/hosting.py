"""This machine as a node offers it: with the kinds of engines that it can host. Starts none."""

from importlib.util import find_spec

import msgspec

from cluster.jobs.devices import Wish
from cluster.jobs.machine import ThisMachine
from cluster.jobs.nvml import Nvml
from cluster.serving.engines.needs import PACKAGES
from cluster.serving.environment_store import EnvironmentStore
from cluster.serving.model_store import ModelStore
from sage.base.catalog import CATALOG
from sage.base.errors import ModelMissing
from sage.base.offer import NodeOffer


class HostingMachine(ThisMachine):
    """Looks at its model files and environments too, whenever it is looked at: they may come while a node runs."""

    def __init__(self, wish: Wish, nvml: Nvml | None, store: ModelStore, environments: EnvironmentStore) -> None:
        super().__init__(wish, nvml)
        self._store = store
        self._environments = environments
        self._kinds = tuple(kind for kind, needs in PACKAGES.items() if all(find_spec(name) for name in needs))

    def look(self) -> NodeOffer:
        """Return what is offered now; some milliseconds with GPUs.

        Raises ConfigInvalid where, at the first look, fewer GPUs are sound than were wished for.
        """
        more: list[str] = []
        if "openvino" in self._kinds:
            more += [f"openvino:{entry.name}" for entry in CATALOG if self._has(entry.name)]
        if "vllm" in self._kinds:
            more += [f"vllm:{found.name}" for found in self._environments.list() if found.is_usable]
        return msgspec.structs.replace(super().look(), engines=(*self._kinds, *more))

    def _has(self, model: str) -> bool:
        try:
            self._store.path(model)
        except ModelMissing:
            return False
        return True
