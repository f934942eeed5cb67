"""Windows of engines side by side, on simulated ones."""

from contextlib import ExitStack

import pytest
from msgspec.structs import replace

from benchmarks.windows import NUM_URGENT, measure_windows
from cluster.local import LocalCluster
from cluster.serving.engines.spec import spec_from_text
from sage.base.clock import SystemClock
from sage.base.errors import UnknownModel
from sage.base.settings import Settings

SPEC = spec_from_text("simulated:h100,model=sim")


def test_windows_are_compared_by_rate_and_by_how_long_urgent_requests_wait() -> None:
    with ExitStack() as stack:
        clusters = {
            name: stack.enter_context(
                LocalCluster(settings=replace(Settings(), plane=replace(Settings().plane, window=name)), engines=[SPEC])
            )
            for name in ("fixed", "adaptive")
        }
        prompts = [f"{number} words" * 50 for number in range(6)]
        results = measure_windows(clusters, "sim", prompts, simulated=True, num_rounds=2, clock=SystemClock())
        with pytest.raises(UnknownModel):
            measure_windows(clusters, "other", prompts, simulated=True, num_rounds=1, clock=SystemClock())
    fixed, adaptive = results
    assert (fixed.engine, fixed.ratio_to_fixed, adaptive.engine) == ("fixed", 1.0, "adaptive")
    assert all(each.num_urgent == 2 * NUM_URGENT and each.simulated and each.tokens_per_s > 0 for each in results)
    assert all(0 < each.urgent_ttft_p50_ms <= each.urgent_ttft_max_ms and each.num_inside_p50 > 0 for each in results)
