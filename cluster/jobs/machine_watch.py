"""MachineWatch: the actor that looks at the GPUs of its machine again and again. Decides nothing about them."""

from collections.abc import Callable, Hashable

from cluster.jobs.machine import ThisMachine
from cluster.runtime.actor import Actor
from sage.base.clock import Clock
from sage.base.log import get_log
from sage.base.offer import NodeOffer

LOOK_EVERY_S = 1.0
"""A GPU that breaks is cordoned within two seconds."""

OnOffer = Callable[[NodeOffer], object]
"""Called on the actor's thread with every offer that differs from the one before; must return at once."""


class MachineWatch(Actor[None]):
    """Owns the machine from its start, and closes it when it ends."""

    def __init__(
        self, machine: ThisMachine, offer: NodeOffer, on_offer: OnOffer, clock: Clock, *, every_s: float = LOOK_EVERY_S
    ) -> None:
        """`offer` is the one that was made before the watch began."""
        super().__init__("machine watch", clock=clock)
        self._machine = machine
        self._offer = offer
        self._on_offer = on_offer
        self._every_s = every_s

    def on_start(self) -> None:
        self.set_timer("look", self._every_s)

    def on_stop(self) -> None:
        self._machine.close()

    def receive(self, message: None) -> None:
        """Nobody sends it anything."""

    def on_timer(self, timer_id: Hashable) -> None:
        self.set_timer("look", self._every_s)
        offer = self._machine.look()
        if offer != self._offer:
            self._log(offer)
            self._offer = offer
            self._on_offer(offer)

    def _log(self, offer: NodeOffer) -> None:
        before = {gpu.id: gpu.fault for gpu in self._offer.gpus}
        for gpu in offer.gpus:
            if gpu.fault != before.get(gpu.id, ""):
                get_log().warning("GPU out of use" if gpu.fault else "GPU in use again", gpu=gpu.index, why=gpu.fault)
