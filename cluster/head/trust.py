"""By which keys a head is reached, and whose code its cluster runs. Knows no message.

On this machine a socket in the cluster's private folder needs no keys; other machines come by `tcp://` with theirs.
"""

from pathlib import Path

import zmq

from cluster.head.config import HeadConfig
from cluster.jobs.envelope import EnvelopeVerifier, NoCodeShipping, submitters_of
from cluster.runtime.allow_list import Domain, only_for
from cluster.runtime.channel import Attach, Context
from cluster.runtime.control import ControlMessage
from cluster.runtime.curve import ServerTrust, listen
from cluster.runtime.enrolment import Enrol, Enrolled, check_may_say, enrolled
from cluster.runtime.gatekeeper import Gatekeeper
from cluster.runtime.keys import ClusterKeys
from sage.base.clock import Clock
from sage.base.errors import KeysUnsafe, NotTrusted


class HeadTrust:
    """Made on the head's main thread; the keeper, and who may say what, are the door's."""

    def __init__(self, config: HeadConfig, context: Context, clock: Clock) -> None:
        """Raises KeysUnsafe where an address for other machines is given and no keys."""
        if config.listen is not None and not config.keys_folder:
            raise KeysUnsafe(f"{config.listen} can be reached from other machines, and there are no keys")
        self._config = config
        self._clock = clock
        self._keys = ClusterKeys(Path(config.keys_folder)) if config.keys_folder else None
        self._keeper: Gatekeeper | None = None
        if self._keys is not None and config.listen is not None:
            self._keeper = Gatekeeper(context, self._keys.allow_list.current, clock)
        self.address: str | None = None

    def listeners(self, control: str) -> list[Attach]:
        """Return what binds the head's sockets: that of this machine, and the one for others."""
        attach: list[Attach] = [lambda socket: listen(socket, control, None)]
        if self._config.listen is not None:
            attach.append(self._listen_to_others)
        return attach

    @property
    def keeper_fd(self) -> int | None:
        return self._keeper.fd if self._keeper is not None else None

    def drain_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.drain()

    def check_may_say(self, key: str | None, message: ControlMessage) -> None:
        """Raise NotTrusted unless whoever was let in by `key` may say this; over `ipc://`, where keys are not asked,
        all but Enrol."""
        if key is None:
            if isinstance(message, Enrol):
                raise NotTrusted("on this machine nobody enrols", "Join without a token: sage-cluster start.")
            return
        assert self._keys is not None
        check_may_say(self._keys.allow_list.current().standing(key, self._clock.unix_s()), message)

    def enrol(self, key: str | None, message: Enrol) -> Enrolled:
        """Redeem the token by which a newcomer was let in; raises what `enrolled` raises."""
        assert key is not None
        assert self._keys is not None
        return enrolled(self._keys.allow_list, key, message, self._clock.unix_s())

    def verifier(self) -> EnvelopeVerifier | NoCodeShipping:
        """Return what checks shipped code when it is submitted."""
        return EnvelopeVerifier(self.submitters) if self._config.ships_code else NoCodeShipping()

    def submitters(self) -> tuple[str, ...]:
        """Return the keys that may sign code now; none where code shipping is off."""
        if not self._config.ships_code:
            return ()
        listed = submitters_of(self._keys.allow_list.current()) if self._keys is not None else frozenset()
        return (*self._config.submitters, *sorted(listed.difference(self._config.submitters)))

    def data_address(self, folder: Path) -> str:
        """Return where a local node takes records: a socket in its folder, or any port where others come too."""
        if self._config.listen is None:
            return f"ipc://{folder}/data"
        host = self._config.listen.removeprefix("tcp://").rpartition(":")[0]
        return f"tcp://{host}:0"

    def listen_for_engine(self, socket: "zmq.Socket[bytes]", start: int, node_key: str) -> str:
        """Bind a socket that the engine host with this number connects to; return where, as StartEngineHost has it.

        `node_key`: of the node that starts it; "": it is on this machine, as a socket in the cluster's folder.
        Raises what `listen` raises. May be called on any thread.
        """
        if not node_key:
            return listen(socket, f"ipc://{self._config.folder}/engine-{start}", None)
        assert self._keys is not None
        assert self._config.listen is not None
        host = self._config.listen.removeprefix("tcp://").rpartition(":")[0]
        trust = ServerTrust(self._keys.curve("head"), only_for(Domain.ENGINE, node_key))
        return f"tcp://*:{listen(socket, f'tcp://{host}:0', trust).rpartition(':')[2]}"

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()

    def _listen_to_others(self, socket: "zmq.Socket[bytes]") -> None:
        assert self._keys is not None
        assert self._config.listen is not None
        self.address = listen(socket, self._config.listen, ServerTrust(self._keys.curve("head"), Domain.CONTROL))
