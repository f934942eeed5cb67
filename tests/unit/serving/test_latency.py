"""What the latency model makes of what it saw."""

from random import Random

import pytest

from cluster.serving.engines.cost import CPU2, H100, CostModel
from cluster.serving.latency import DecodeTable, LatencyModel, RobustLine


def test_nothing_is_foretold_before_anything_was_seen() -> None:
    model = LatencyModel()
    assert model.first_token_s(100, 0) is None
    assert model.token_s(4) is None
    assert model.errors() is None


def test_a_line_is_found_through_noise_and_one_outlier_does_not_bend_it() -> None:
    rng, line = Random(1), RobustLine()
    for n in range(300):
        x = rng.uniform(100, 4000)
        y = 0.02 + 0.0003 * x
        line.observe(x, 60.0 if n == 250 else y * rng.uniform(0.95, 1.05))
    assert line.at(2000) == pytest.approx(0.62, rel=0.15)


def test_a_line_of_one_point_grows_with_what_is_asked_beyond_it() -> None:
    line = RobustLine()
    line.observe(100.0, 1.0)
    assert line.at(100.0) == line.at(50.0) == 1.0
    assert line.at(200.0) == 2.0


def test_the_table_joins_the_sizes_seen_and_keeps_their_ends() -> None:
    table = DecodeTable()
    for size, token_s in ((1, 0.012), (8, 0.024), (32, 0.040)):
        table.observe(size, token_s)
    assert table.token_s(1) == 0.012
    assert table.token_s(20) == pytest.approx(0.032)
    assert table.token_s(100) == 0.040
    assert table.token_s(0) == 0.0


@pytest.mark.parametrize("costs", [CPU2, H100])
def test_an_engine_of_the_stated_costs_is_foretold_within_a_fifth(costs: CostModel) -> None:
    """Iterations as a simulated engine has them: chunks of prompts, beside what decodes."""
    rng, model = Random(2), LatencyModel()
    for _ in range(400):
        num_decoding, tokens_ahead = rng.randint(0, 32), rng.randint(50, 6000)
        model.saw_decode(max(1, num_decoding), costs.iteration_ms(0, max(1, num_decoding), ()) / 1e3)
        model.saw_first_token(tokens_ahead, num_decoding, first_token_s(costs, rng, tokens_ahead, num_decoding))
    errors = model.errors()
    assert errors is not None
    assert errors[0] <= 0.2


def first_token_s(costs: CostModel, rng: Random, tokens_ahead: int, num_decoding: int) -> float:
    took_ms = rng.random() * costs.iteration_ms(0, num_decoding, ())
    while tokens_ahead > 0:
        chunk = min(tokens_ahead, costs.chunk_tokens)
        took_ms += costs.iteration_ms(chunk, num_decoding, ())
        tokens_ahead -= chunk
    return took_ms / 1e3
