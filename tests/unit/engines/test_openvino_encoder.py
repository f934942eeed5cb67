"""An encoder beside others, on the embedded model."""

import os
import threading

import numpy as np
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


def test_stages_give_the_vectors_of_the_whole_and_may_rest_between_two_of_them() -> None:
    encoder = Encoder(open_store(load_settings().models).path("minilm")["model"], 1, staged_tokens=128)
    rests: list[None] = []
    for rows in ([[101, 7592, 102]], [[101, *range(2000, 2000 + num), 102] for num in (30, 21, 27, 24)]):
        whole = encoder.vectors(rows).copy()
        staged = encoder.vectors(rows, lambda: rests.append(None))
        assert (whole * staged).sum(axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-5)
    assert len(rests) == 2 * 11, "between the parts of six layers, attention and feed-forward"
