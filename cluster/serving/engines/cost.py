"""What an iteration of a simulated engine costs, with the source of each constant. Knows no clock and no request."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from sage.base.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class CostModel:
    """Milliseconds of work of one iteration: a prefill chunk, one token of each running sequence, some texts."""

    name: str
    device: str
    prefill_fixed_ms: float
    prefill_token_ms: float
    decode_ms: tuple[tuple[int, float], ...]
    """(batch size, ms), rising: a table, since the measured times are no line; between entries they are joined."""
    text_fixed_ms: float
    text_token_ms: float
    text_token_per_100_ms: float
    """More a token for each 100 tokens of the text's length: attention is quadratic."""
    max_running: int
    chunk_tokens: int
    context_tokens: int
    max_batch_texts: int
    decode_context_ms: float = 0.0
    """More for each 1,000 tokens that stand before the next ones of the sequences that decode: attention reads them."""
    prefill_context_ms: float = 0.0
    """More for each 1,000 tokens that stand before a token of a prompt, kept ones too, summed over the prompt's tokens
    of the iteration."""
    adapter_load_ms: float = 0.0
    """More for each adapter (LoRA) that the iteration needs and that is in no slot yet."""

    def iteration_ms(
        self,
        prefill_tokens: int,
        num_decoding: int,
        text_tokens: Sequence[int],
        before_tokens: float = 0.0,
        before_prefill_tokens: float = 0.0,
    ) -> float:
        """Return the cost. A mixed iteration pays its prefill and what decoding costs more than one sequence.

        `before_tokens`: prompts, and answers so far, of all that decode. `before_prefill_tokens`: what stands before
        each token of the prompts, summed (`tokens_before`).
        """
        cost = sum(self.text_ms(tokens) for tokens in text_tokens) + self.decode_context_ms * before_tokens / 1000
        cost += self.prefill_context_ms * before_prefill_tokens / 1000
        if prefill_tokens:
            cost += self.prefill_fixed_ms + self.prefill_token_ms * prefill_tokens
            cost += max(0.0, self._decoding_ms(num_decoding) - self._decoding_ms(1))
        elif num_decoding:
            cost += self._decoding_ms(num_decoding)
        return cost

    def text_ms(self, tokens: int) -> float:
        """Return what embedding one text of `tokens` costs."""
        return self.text_fixed_ms + tokens * (self.text_token_ms + self.text_token_per_100_ms * tokens / 100)

    def _decoding_ms(self, num: int) -> float:
        table = self.decode_ms
        if num <= table[0][0]:
            return table[0][1]
        at = 1
        while num > table[at][0] and at < len(table) - 1:
            at += 1
        (low, low_ms), (high, high_ms) = table[at - 1], table[at]
        return low_ms + (high_ms - low_ms) * (num - low) / (high - low)


def tokens_before(done: float, tokens: float) -> float:
    """Return how many tokens stand before each of the next `tokens` of a prompt of which `done` are known, summed.

    >>> tokens_before(10, 4)
    48.0
    """
    return tokens * (done + tokens / 2)


# Two x86-64 cores, OpenVINO, SmolLM2-135M and MiniLM int8, measured 2026-11-22: prefill and text constants by
# regression; decode from 83 / 338 / 828 tokens/s at 1 / 8 / 32 sequences. Text constants are of one thread. To load an
# adapter: no source; assumed.
CPU2 = CostModel(
    name="cpu2",
    device="simulated: 2 x86-64 cores, SmolLM2-135M and MiniLM",
    prefill_fixed_ms=20.5,
    prefill_token_ms=0.30,
    decode_ms=((1, 12.0), (8, 23.7), (32, 38.6)),
    text_fixed_ms=1.5,
    text_token_ms=0.037,
    text_token_per_100_ms=0.0116,
    max_running=32,
    chunk_tokens=64,
    context_tokens=8192,
    max_batch_texts=8,
    adapter_load_ms=20.0,
)

# Llama-2-70B, tensor parallel over 8 devices. A100: medians of Splitwise's measurements (perf_model.csv of
# Mutinifni/splitwise-sim@8f99e7d): prefill by a line through 128 to 2,048 tokens (within 10 %), decode at 512 tokens.
# H100: the same times 0.53 (TTFT) and 0.70 (time between tokens), the ratios of Splitwise (ISCA 2024), table IV.
# Longer prompts take longer than that line says: measured at batch 1 are 661 ms at 4,096 tokens (here 500) and 1,550
# at 8,192 (here 954, 38 % less). With `prefill_context_ms` 0.018 it were 651 and 1,558, but 309 at 2,048 (274
# measured); it is 0, as in all figures that were kept.
# Beyond 64 sequences the last line goes on. Texts: no source; priced as prefill tokens. To load an adapter: no source;
# rank 16 on all projections of Llama-2-70B is 414 MB, which at 2 GB/s takes 0.2 s.
A100 = CostModel(
    name="a100",
    device="simulated: 8 x A100-80GB, Llama-2-70B",
    prefill_fixed_ms=45.0,
    prefill_token_ms=0.111,
    decode_ms=((1, 44.9), (8, 46.5), (16, 50.4), (32, 53.0), (64, 71.6)),
    text_fixed_ms=0.0,
    text_token_ms=0.111,
    text_token_per_100_ms=0.0,
    max_running=128,
    chunk_tokens=2048,
    context_tokens=131_072,
    max_batch_texts=32,
    adapter_load_ms=200.0,
)
H100 = CostModel(
    name="h100",
    device="simulated: 8 x H100-80GB, Llama-2-70B",
    prefill_fixed_ms=24.0,
    prefill_token_ms=0.059,
    decode_ms=((1, 31.4), (8, 32.6), (16, 35.3), (32, 37.1), (64, 50.1)),
    text_fixed_ms=0.0,
    text_token_ms=0.059,
    text_token_per_100_ms=0.0,
    max_running=128,
    chunk_tokens=2048,
    context_tokens=131_072,
    max_batch_texts=32,
    adapter_load_ms=200.0,
)

PROFILES = (CPU2, A100, H100)


def profile_of(name: str) -> CostModel:
    """Return the cost model of this name; raises ConfigInvalid, suggesting the nearest.

    >>> profile_of("cpu2").iteration_ms(0, 8, ())
    23.7
    """
    for profile in PROFILES:
        if profile.name == name:
            return profile
    names = [profile.name for profile in PROFILES]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    do = f"Did you mean {nearest[0]}?" if nearest else f"There are {', '.join(names)}."
    raise ConfigInvalid(f"no simulated engine is named {name!r}", do, param="target")
