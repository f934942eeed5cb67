"""Who is a member: one process a name, an epoch for each membership, and nothing given away too early."""

import msgspec
import pytest

from cluster.head.members import ClusterMembers
from cluster.jobs.health import Beat, Health
from cluster.runtime.channel import PeerId
from cluster.runtime.control import Join, PeerAddress
from sage.base.errors import MembershipOver, NameTaken
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer

BEAT = Beat()
A = NodeId("a")
JOIN = Join("a", "instance-1", 7, "alder", NodeOffer(cpus=2.0), PeerAddress("ipc:///a"), 1)
FIRST, SECOND = PeerId(0, b"1"), PeerId(0, b"2")


@pytest.fixture
def members() -> ClusterMembers:
    return ClusterMembers(BEAT, first_epoch=10)


def test_every_membership_is_in_an_epoch_of_its_own(members: ClusterMembers) -> None:
    first = members.admit(FIRST, JOIN, 0.0)
    again = members.admit(SECOND, msgspec.structs.replace(JOIN, attempt=2), 1.0)
    assert (first.member.epoch, first.replaced) == (10, None)
    assert (again.member.epoch, again.replaced) == (11, first.member)
    assert members.of_peer(FIRST) is None
    assert members.of_peer(SECOND) is members.of_node(A) is again.member
    assert len(members) == 1


def test_a_wish_that_was_overtaken_by_a_later_one_changes_nothing(members: ClusterMembers) -> None:
    now = members.admit(SECOND, msgspec.structs.replace(JOIN, attempt=2), 1.0).member
    for attempt in (1, 2):
        with pytest.raises(MembershipOver, match="another connection"):
            members.admit(FIRST, msgspec.structs.replace(JOIN, attempt=attempt), 2.0)
    assert members.of_node(A) is members.of_peer(SECOND) is now


def test_another_process_of_a_members_name_is_refused_until_that_is_lost(members: ClusterMembers) -> None:
    members.admit(FIRST, JOIN, 0.0)
    other = msgspec.structs.replace(JOIN, instance="instance-2")
    with pytest.raises(NameTaken, match="process 7 on alder"):
        members.admit(SECOND, other, 1.0)
    members.lost(10.0)
    assert members.admit(SECOND, other, 10.0).member.epoch == 11


def test_a_member_that_is_cut_off_is_lost_when_its_lease_is_over_and_not_before(members: ClusterMembers) -> None:
    member, _ = members.admit(FIRST, JOIN, 0.0)
    members.heard(member, 0.5)
    members.cut_off(member)
    assert members.of_peer(FIRST) is None
    assert members.lost(0.5 + BEAT.lease_s) == []
    assert members.lost(0.5 + BEAT.lost_after_s) == [member]
    assert (len(members), members.next_check_s(), members.health(A)) == (0, None, Health.LOST)


def test_who_is_removed_is_no_member_and_nobody_else_is_touched(members: ClusterMembers) -> None:
    member, _ = members.admit(FIRST, JOIN, 0.0)
    other, _ = members.admit(SECOND, msgspec.structs.replace(JOIN, name="b"), 0.0)
    assert members.remove(A) is member
    assert members.remove(A) is None
    assert list(members) == [other]
    assert members.silent_s(other.node_id, 1.5) == 1.5
