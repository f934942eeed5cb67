"""Which files others may name to a node."""

from pathlib import Path

import msgspec

from cluster.node.config import NodeConfig, offered_folders
from sage.base.settings import NodeSettings, Settings

CONFIG = NodeConfig(head="tcp://head:1", name="a", data_address="tcp://a:0")
HOME = Path("/home/u")


def test_a_node_that_others_reach_offers_where_it_was_started_unless_folders_are_named() -> None:
    assert offered_folders(CONFIG, HOME) == (HOME,)
    named = msgspec.structs.replace(CONFIG, settings=Settings(node=NodeSettings(code_dirs="/flows:~/more:")))
    assert offered_folders(named, HOME) == (Path("/flows"), Path("~/more").expanduser())


def test_a_node_of_its_own_user_alone_takes_any_file_unless_folders_are_named() -> None:
    own = msgspec.structs.replace(CONFIG, takes_any_file=True)
    assert offered_folders(own, HOME) is None
    named = msgspec.structs.replace(own, settings=Settings(node=NodeSettings(code_dirs="/flows")))
    assert offered_folders(named, HOME) == (Path("/flows"),)
