"""What every engine must do, checked on each of them."""

import itertools

import numpy as np

from sage.base.ids import RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    MAX_SCORE_PAIRS,
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    GenerateRequest,
    Request,
    Sampling,
    ScoreRequest,
)
from tests.contract.driven import DrivenEngine, Hosted, Record, answer, wait_for

_NUMBERS = itertools.count(1)
_LONG = "Tell me everything you know about the sea, in many words."


def _new_id() -> RequestId:
    return RequestId(f"r{next(_NUMBERS)}")


def _model(engine: DrivenEngine) -> str:
    return engine.info.models[0].name


def chat(
    engine: DrivenEngine,
    text: str = _LONG,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int | None = None,
) -> ChatRequest:
    sampling = Sampling(max_tokens, temperature, 0.9 if temperature else 1.0, seed)
    return ChatRequest(_new_id(), _model(engine), (ChatMessage("user", text),), sampling)


def generate(
    engine: DrivenEngine,
    prompt: str = "Once upon a time",
    *,
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
) -> GenerateRequest:
    return GenerateRequest(_new_id(), _model(engine), prompt, Sampling(max_tokens, stop=stop))


def embed(engine: DrivenEngine, *texts: str) -> EmbedRequest:
    return EmbedRequest(_new_id(), _model(engine), texts)


def score(engine: DrivenEngine, query: str, *texts: str) -> ScoreRequest:
    return ScoreRequest(_new_id(), _model(engine), query, texts)


def vectors(last: Embedded) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.frombuffer(last.vectors, "<f4").reshape(-1, last.dim)


def test_every_request_of_a_mixed_batch_ends_in_exactly_one_last(chat_engine: DrivenEngine) -> None:
    fine: list[Request] = [chat(chat_engine, max_tokens=3), generate(chat_engine, max_tokens=5)]
    unknown = ChatRequest(_new_id(), "no-such-model", (ChatMessage("user", "hello"),))
    negative = chat(chat_engine, temperature=-1.0)
    too_long = chat(chat_engine, max_tokens=10_000_000)
    requests: list[Request] = [unknown, fine[0], negative, fine[1], too_long]
    record = answer(chat_engine, requests)
    assert {request.id: record.failed_code(request.id) for request in (unknown, negative, too_long)} == {
        unknown.id: "SAGE-1201",
        negative.id: "SAGE-1203",
        too_long.id: "SAGE-1204",
    }
    assert all(record.finished(request.id).usage.completion_tokens for request in fine)


def test_an_answer_counts_its_tokens_and_names_its_engine(chat_engine: DrivenEngine) -> None:
    request = chat(chat_engine, max_tokens=7)
    record = answer(chat_engine, [request])
    last = record.finished(request.id)
    assert last.engine_id == chat_engine.info.engine_id
    assert last.usage.prompt_tokens >= 10
    assert last.usage.completion_tokens <= 7
    assert (last.reason == "length") == (last.usage.completion_tokens == 7)
    assert sum(token.num_tokens for token in record.tokens[request.id]) <= last.usage.completion_tokens
    assert record.text(request.id)


def test_the_same_seed_gives_the_same_answer_whatever_runs_beside_it(chat_engine: DrivenEngine) -> None:
    alone, crowded = (chat(chat_engine, max_tokens=12, temperature=1.0, seed=7) for _ in range(2))
    first = answer(chat_engine, [alone])
    beside = [chat(chat_engine, f"Number {n}?", max_tokens=9, temperature=1.0, seed=n) for n in range(3)]
    second = answer(chat_engine, [*beside, crowded])
    assert first.text(alone.id) == second.text(crowded.id)


def test_a_request_cancelled_before_its_first_token_ends_cancelled(chat_engine: DrivenEngine) -> None:
    request = chat(chat_engine)
    chat_engine.add([request])
    chat_engine.cancel([request.id])
    record = wait_for(chat_engine, [request.id])
    assert record.failed_code(request.id) == "SAGE-2206"


def test_a_request_cancelled_amid_its_tokens_ends_cancelled_and_its_neighbours_go_on(chat_engine: DrivenEngine) -> None:
    cancelled, neighbour = generate(chat_engine, max_tokens=4000), generate(chat_engine, "The sea", max_tokens=30)
    chat_engine.add([cancelled, neighbour])
    record = Record()
    while cancelled.id not in record.tokens:
        record.take(chat_engine.next_replies())
    chat_engine.cancel([cancelled.id])
    wait_for(chat_engine, [cancelled.id, neighbour.id], record)
    assert record.failed_code(cancelled.id) == "SAGE-2206"
    assert record.finished(neighbour.id).usage.completion_tokens <= 30


def test_cancelling_what_is_unknown_or_has_ended_changes_nothing(chat_engine: DrivenEngine) -> None:
    request = chat(chat_engine, max_tokens=2)
    answer(chat_engine, [request])
    chat_engine.cancel([request.id, RequestId("never-asked")])
    again = chat(chat_engine, max_tokens=2)
    assert answer(chat_engine, [again]).ended == [again.id]


def test_no_part_of_a_stop_string_is_ever_sent(chat_engine: DrivenEngine) -> None:
    whole = generate(chat_engine, max_tokens=24)
    text = answer(chat_engine, [whole]).text(whole.id)
    stop = text[len(text) // 2 : len(text) // 2 + 5]
    stopped = generate(chat_engine, max_tokens=24, stop=("never in it", stop))
    record = answer(chat_engine, [stopped])
    assert record.text(stopped.id) == text[: text.index(stop)]
    assert record.finished(stopped.id).reason == "stop"


def test_what_looks_like_the_start_of_a_stop_string_is_sent_at_the_end(chat_engine: DrivenEngine) -> None:
    whole = generate(chat_engine, max_tokens=8)
    text = answer(chat_engine, [whole]).text(whole.id)
    held = generate(chat_engine, max_tokens=8, stop=(text[-3:] + "and more",))
    record = answer(chat_engine, [held])
    assert record.text(held.id) == text


def test_a_prompt_beyond_the_context_is_refused_with_the_sizes(chat_engine: DrivenEngine) -> None:
    context = chat_engine.info.models[0].context_tokens
    huge = chat(chat_engine, "word " * 200_000)
    small = chat(chat_engine, max_tokens=3)
    record = answer(chat_engine, [huge, small])
    assert record.failed_code(huge.id) == "SAGE-1204"
    assert f"{context:,} tokens" in str(record.lasts[huge.id])
    assert record.finished(small.id).usage.completion_tokens <= 3


def test_a_short_request_that_comes_late_ends_before_a_long_one(chat_engine: DrivenEngine) -> None:
    long = generate(chat_engine, max_tokens=150)
    chat_engine.add([long])
    record = Record()
    while long.id not in record.tokens:
        record.take(chat_engine.next_replies())
    short = chat(chat_engine, "Hi", max_tokens=2)
    chat_engine.add([short])
    wait_for(chat_engine, [long.id, short.id], record)
    assert record.ended == [short.id, long.id]


def test_more_requests_than_run_at_once_all_end(chat_engine: DrivenEngine) -> None:
    requests = [chat(chat_engine, f"Question {n}?", max_tokens=4) for n in range(chat_engine.info.max_running + 8)]
    record = answer(chat_engine, requests)
    assert sorted(record.ended) == sorted(request.id for request in requests)
    assert {record.finished(request.id).engine_id for request in requests} == {chat_engine.info.engine_id}


def test_tokens_come_while_an_answer_is_made(chat_engine: DrivenEngine) -> None:
    request = generate(chat_engine, max_tokens=20)
    chat_engine.add([request])
    messages = 0
    record = Record()
    while request.id not in record.lasts:
        replies = chat_engine.next_replies()
        record.take(replies)
        messages += bool(replies)
    assert messages >= len(record.tokens[request.id]) >= 5


def test_vectors_are_of_unit_length_and_in_the_order_of_their_texts(embed_engine: DrivenEngine) -> None:
    texts = ["a cat sat on the mat", "share prices fell", "x", "a long text about the weather at sea " * 20, "x"]
    together = embed(embed_engine, *texts)
    record = answer(embed_engine, [together])
    rows = vectors(record.embedded(together.id))
    assert rows.shape == (5, embed_engine.info.models[0].dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    apart = [embed(embed_engine, text) for text in texts]
    singles = answer(embed_engine, apart)
    one_by_one = np.concatenate([vectors(singles.embedded(request.id)) for request in apart])
    assert (np.argmax(one_by_one[[0, 1, 2, 3]] @ rows[[0, 1, 2, 3]].T, axis=1) == [0, 1, 2, 3]).all()
    assert ((one_by_one * rows).sum(axis=1) > 0.98).all()
    assert record.embedded(together.id).usage.prompt_tokens >= 5


def test_the_same_texts_give_the_same_vectors_again(embed_engine: DrivenEngine) -> None:
    first, second = embed(embed_engine, "one", "two two"), embed(embed_engine, "one", "two two")
    record = answer(embed_engine, [first])
    again = answer(embed_engine, [second])
    assert record.embedded(first.id).vectors == again.embedded(second.id).vectors


def test_a_bad_embedding_request_fails_alone(embed_engine: DrivenEngine) -> None:
    fine = [embed(embed_engine, f"text {n}") for n in range(3)]
    empty, surrogate = embed(embed_engine), embed(embed_engine, "fine", "not \ud800 text")
    crowd = embed(embed_engine, *["x"] * (MAX_EMBED_TEXTS + 1))
    record = answer(embed_engine, [fine[0], empty, fine[1], surrogate, crowd, fine[2]])
    bad = (empty, surrogate, crowd)
    assert [record.failed_code(request.id) for request in bad] == ["SAGE-1203"] * 3
    assert all(len(vectors(record.embedded(request.id))) == 1 for request in fine)


def test_embeddings_end_in_the_order_asked_and_can_be_cancelled(embed_engine: DrivenEngine) -> None:
    requests = [embed(embed_engine, *[f"text {n} number {m}" for m in range(MAX_EMBED_TEXTS)]) for n in range(4)]
    embed_engine.add(requests)
    embed_engine.cancel([requests[2].id])
    record = wait_for(embed_engine, [request.id for request in requests])
    assert record.failed_code(requests[2].id) == "SAGE-2206"
    assert [id for id in record.ended if id != requests[2].id] == [requests[n].id for n in (0, 1, 3)]


def test_scores_are_one_a_text_in_order_whatever_is_asked_beside_them(score_engine: DrivenEngine) -> None:
    texts = ["snakes eat because they can", "the sea is wide", "why snakes talk " * 40, "x", ""]
    together = score(score_engine, "why snakes eat", *texts)
    record = answer(score_engine, [together, score(score_engine, "the sea", *texts)])
    scores = vectors(record.embedded(together.id))
    assert scores.shape == (5, 1)
    assert np.isfinite(scores).all()
    apart = [score(score_engine, "why snakes eat", text) for text in texts]
    singles = answer(score_engine, apart)
    one_by_one = np.concatenate([vectors(singles.embedded(request.id)) for request in apart])
    np.testing.assert_allclose(one_by_one, scores, atol=0.05)
    assert record.embedded(together.id).usage.prompt_tokens >= 5


def test_a_text_that_answers_the_query_has_the_greater_score(scoring_model: DrivenEngine) -> None:
    request = score(scoring_model, "why snakes eat", "the sea is wide", "snakes eat because they can")
    first, second = vectors(answer(scoring_model, [request]).embedded(request.id))[:, 0]
    assert second > first + 0.1


def test_a_bad_request_to_score_fails_alone(score_engine: DrivenEngine) -> None:
    fine = [score(score_engine, "why", f"text {n}") for n in range(3)]
    empty, surrogate = score(score_engine, "why"), score(score_engine, "why", "fine", "not \ud800 text")
    half, crowd = score(score_engine, "\ud800", "x"), score(score_engine, "why", *["x"] * (MAX_SCORE_PAIRS + 1))
    bad = (empty, surrogate, half, crowd)
    record = answer(score_engine, [fine[0], empty, fine[1], surrogate, half, crowd, fine[2]])
    assert [record.failed_code(request.id) for request in bad] == ["SAGE-1203"] * 4
    assert all(len(vectors(record.embedded(request.id))) == 1 for request in fine)


def test_requests_to_score_can_be_cancelled(score_engine: DrivenEngine) -> None:
    requests = [score(score_engine, "why", *[f"text {n} number {m}" for m in range(20)]) for n in range(4)]
    score_engine.add(requests)
    score_engine.cancel([requests[2].id])
    record = wait_for(score_engine, [request.id for request in requests])
    assert record.failed_code(requests[2].id) == "SAGE-2206"
    assert [id for id in record.ended if id != requests[2].id] == [requests[n].id for n in (0, 1, 3)]


def test_a_prompt_without_anything_in_it_is_refused(chat_engine: DrivenEngine) -> None:
    nothing = ChatRequest(_new_id(), _model(chat_engine), ())
    empty, half = generate(chat_engine, ""), chat(chat_engine, "half a \ud83d character")
    record = answer(chat_engine, [nothing, empty, half])
    assert [record.failed_code(request.id) for request in (nothing, empty, half)] == ["SAGE-1203"] * 3


def test_an_empty_text_has_a_vector_too(embed_engine: DrivenEngine) -> None:
    request = embed(embed_engine, "", "x")
    assert np.isfinite(vectors(answer(embed_engine, [request]).embedded(request.id))).all()


def test_an_engine_closes_with_work_in_hand(fresh_engine: DrivenEngine) -> None:
    fresh_engine.add([generate(fresh_engine, max_tokens=1000) for _ in range(5)])
    fresh_engine.next_replies()
    fresh_engine.close()
    if isinstance(fresh_engine, Hosted):
        assert fresh_engine.link.drain() == []


def test_a_simulated_engine_says_so(simulated_engine: DrivenEngine) -> None:
    assert simulated_engine.info.simulated
    request = chat(simulated_engine, max_tokens=3)
    record = answer(simulated_engine, [request])
    assert record.text(request.id) == "simulated-1 simulated-2 simulated-3"
    assert "simulated" in simulated_engine.info.device
