"""A machine joins by its token, over a real connection: its keys are on the list, and the token is spent."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from cluster.runtime.allow_list import AllowedKey, AllowList, Domain, Role
from cluster.runtime.channel import ControlServer, PeerMessage
from cluster.runtime.control import ControlMessage, Heartbeat
from cluster.runtime.control_clients import (
    CancelFlow,
    ClientToHead,
    Declined,
    GetResults,
    Goodbye,
    Greet,
    ListEngines,
    ListJobs,
    ListNodes,
    StillThere,
    StopCluster,
    WatchJob,
)
from cluster.runtime.curve import ServerTrust, listen
from cluster.runtime.enrolment import Enrol, check_may_say, enrol, enrolled
from cluster.runtime.gatekeeper import Gatekeeper
from cluster.runtime.join_token import JoinToken, issue_token
from cluster.runtime.keys import ClusterKeys, KnownHead
from sage.base.clock import SystemClock
from sage.base.codec import Codec
from sage.base.errors import ClusterUnreachable, InvalidRequest, NotTrusted, SageError, TokenInvalid
from sage.base.ids import JobId
from sage.base.inference import Failure

pytestmark = pytest.mark.cluster

CLOCK = SystemClock()
WAIT_S = 10.0
JOB = JobId("job-1")


class Head:
    """What of a head an enrolment needs, on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.keys = ClusterKeys(folder)
        self.address = ""
        self._is_over = threading.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._is_up.wait(WAIT_S)

    def token(self, role: Role = Role.NODE, lifetime_s: float = 60.0) -> JoinToken:
        made: list[JoinToken] = []

        def change(allowed: AllowList) -> AllowList:
            changed, token = issue_token(
                allowed,
                role=role,
                head_key=self.keys.curve("head").public_key,
                address=self.address,
                now_unix_s=CLOCK.unix_s(),
                lifetime_s=lifetime_s,
            )
            made.append(token)
            return changed

        self.keys.allow_list.change(change)
        return made[0]

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(WAIT_S)

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        keeper = Gatekeeper(context, self.keys.allow_list.current, CLOCK)
        codec: Codec[ControlMessage] = Codec(ClientToHead | Enrol)  # type: ignore[arg-type]  # a union is no class

        def attach(socket: "zmq.Socket[bytes]") -> None:
            self.address = listen(socket, "tcp://127.0.0.1:*", ServerTrust(self.keys.curve("head"), Domain.CONTROL))

        server = ControlServer(context, codec, [attach])
        self._is_up.set()
        poller = zmq.Poller()
        for fd in (*server.fds(), keeper.fd):
            poller.register(fd, zmq.POLLIN)
        while not self._is_over.is_set():
            poller.poll(20)
            keeper.drain()
            for came in server.drain():
                assert isinstance(came, PeerMessage)
                server.send(came.peer, self._answer(came))
        server.close(last_words_ms=500)
        keeper.close()
        context.term()

    def _answer(self, came: PeerMessage[ControlMessage]) -> ControlMessage:
        assert came.key is not None
        try:
            check_may_say(self.keys.allow_list.current().standing(came.key, CLOCK.unix_s()), came.message)
            assert isinstance(came.message, Enrol)
            return enrolled(self.keys.allow_list, came.key, came.message, CLOCK.unix_s())
        except SageError as error:
            return Declined(None, Failure.of(error))


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    head = Head(tmp_path / "head")
    yield head
    head.close()


@pytest.fixture
def keys(tmp_path: Path) -> ClusterKeys:
    return ClusterKeys(tmp_path / "alder")


def test_a_node_is_on_the_list_by_its_own_key_and_knows_the_head(head: Head, keys: ClusterKeys) -> None:
    token = head.token()
    assert enrol(token, keys, "alder", CLOCK) is Role.NODE
    (entry,) = head.keys.allow_list.current().keys
    assert (entry.public_key, entry.role, entry.label) == (keys.curve("node").public_key, Role.NODE, "alder")
    assert keys.head() == KnownHead(head.address, head.keys.curve("head").public_key)


def test_a_client_brings_the_key_that_signs_its_code(head: Head, keys: ClusterKeys) -> None:
    assert enrol(head.token(Role.CLIENT), keys, "birch", CLOCK) is Role.CLIENT
    submitters = head.keys.allow_list.current().of_role(Role.SUBMITTER)
    assert [key.public_key for key in submitters] == [keys.signing().public_key]


def test_a_token_is_not_taken_twice(head: Head, keys: ClusterKeys, tmp_path: Path) -> None:
    token = head.token()
    enrol(token, keys, "alder", CLOCK)
    with pytest.raises(TokenInvalid, match="does not take join token"):
        enrol(token, ClusterKeys(tmp_path / "thief"), "thief", CLOCK)
    assert [key.label for key in head.keys.allow_list.current().keys] == ["alder"]
    assert ClusterKeys(tmp_path / "thief").head() is None


def test_a_revoked_token_is_not_taken(head: Head, keys: ClusterKeys) -> None:
    token = head.token()
    head.keys.allow_list.change(lambda allowed: allowed.revoke(token.id))
    with pytest.raises(TokenInvalid, match="revoked"):
        enrol(token, keys, "alder", CLOCK)


def test_an_expired_token_is_not_even_tried(head: Head, keys: ClusterKeys) -> None:
    token = JoinToken(head.token().keys, "head", "tcp://192.0.2.1:1", Role.NODE, CLOCK.unix_s() - 1)
    with pytest.raises(TokenInvalid, match="expired 1 s ago"):
        enrol(token, keys, "alder", CLOCK)


def test_a_head_that_declines_says_why_and_the_token_stays_good(head: Head, keys: ClusterKeys) -> None:
    token = head.token()
    with pytest.raises(InvalidRequest, match="joins with"):
        enrol(token, keys, "", CLOCK)
    assert enrol(token, keys, "alder", CLOCK) is Role.NODE


def test_another_head_at_the_address_gets_nothing(head: Head, keys: ClusterKeys, tmp_path: Path) -> None:
    other = ClusterKeys(tmp_path / "other").curve("head")
    real = head.token()
    token = JoinToken(real.keys, other.public_key, real.address, Role.NODE, real.expires_unix_s)
    with pytest.raises(ClusterUnreachable, match="no head with the key"):
        enrol(token, keys, "alder", CLOCK, timeout_s=0.5)
    assert not head.keys.allow_list.current().keys


def test_everybody_says_what_is_theirs_to_say(head: Head) -> None:
    token = head.token()
    head.keys.admit_self("birch", 0.0)
    allowed = head.keys.allow_list.current()
    client = allowed.standing(head.keys.curve("client").public_key, CLOCK.unix_s())
    newcomer = allowed.standing(token.keys.public_key, CLOCK.unix_s())
    node = AllowedKey(head.keys.curve("node").public_key, Role.NODE, "alder", 0.0)
    for question in (Greet(1, "alder"), StillThere(), ListNodes(1), ListJobs(1), ListEngines(1), Goodbye()):
        check_may_say(node, question)
    check_may_say(node, Heartbeat(1))
    check_may_say(client, StopCluster(1))
    check_may_say(newcomer, Enrol("a", "k"))
    for standing, message in (
        *((node, order) for order in (StopCluster(1), CancelFlow(1, JOB), GetResults(1, JOB), WatchJob(1, JOB))),
        (client, Heartbeat(1)),
        (client, Enrol("a", "k")),
        (newcomer, StopCluster(1)),
        (newcomer, Heartbeat(1)),
        (None, StopCluster(1)),
    ):
        with pytest.raises(NotTrusted, match=f"may not say {type(message).__name__}"):
            check_may_say(standing, message)
