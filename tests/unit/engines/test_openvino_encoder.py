"""An encoder beside others, on the embedded model."""

import os
import threading

import pytest

from cluster.serving.engines.openvino_encoder import Encoder
from cluster.serving.model_store import open_store
from sage.base.config import load_settings

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are not kept to cores here"),
]


def test_an_encoder_of_one_thread_leaves_it_to_every_core() -> None:
    """Else all that run side by side share the first core, and chat's thread there with them."""
    encoder = Encoder(open_store(load_settings().models).path("minilm")["model"], 1)
    allowed = frozenset(os.sched_getaffinity(0))
    thread = threading.Thread(target=lambda: [encoder.vectors([[5] * 256] * 8) for _ in range(3)])
    thread.start()
    seen = set()
    while thread.is_alive():
        assert thread.native_id is not None
        try:
            seen.add(frozenset(os.sched_getaffinity(thread.native_id)))
        except ProcessLookupError:  # it has just ended
            break
    thread.join()
    assert seen == {allowed}
