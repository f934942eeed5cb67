"""An inquiry from Python until it is answered: what goes out, what is asked again, and when no more."""

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import numpy as np
import pytest

from cluster.local.inquiries import chat_inquiry, embed_inquiry, embeddings_from, prompt_inquiry
from cluster.local.open_inquiry import LATE_S, MAX_OUT, InquiryPorts, OpenInquiry
from cluster.local.retries import BUDGET, RetryBudget
from sage.base.errors import (
    DeadlineExceeded,
    EngineLost,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    RequestFailed,
    SageError,
)
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    GenerateRequest,
    Request,
    ServiceClass,
    Token,
    Usage,
)
from sage.flow.models import AskOptions, ChatOptions

ENGINE = EngineId("e")
Options = ChatOptions | AskOptions


def ports(budget: RetryBudget | None = None) -> InquiryPorts:
    numbers = count()
    return InquiryPorts(lambda: RequestId(f"q{next(numbers)}"), lambda: 0.5, budget or RetryBudget())


def asked(**options: float) -> OpenInquiry:
    """A chat, asked at second 0."""
    given: ChatOptions = {}
    if "deadline_s" in options:
        given["deadline_s"] = options["deadline_s"]
    if "retries" in options:
        given["retries"] = int(options["retries"])
    return OpenInquiry(chat_inquiry("Hello", "sim", given), ports(), 0.0)


def failed(request: Request, error: SageError) -> Failed:
    return Failed(request.id, Failure.of(error))


def finished(request: Request) -> Finished:
    return Finished(request.id, "stop", Usage(2, 1), ENGINE)


def test_an_answer_is_its_tokens_and_its_end() -> None:
    asking = asked()
    [request] = asking.due(0.0)
    assert asking.due(1.0) == ()
    asking.take(Token(request.id, "Hi"), 1.0)
    was_over = asking.is_over
    asking.take(finished(request), 1.0)
    assert [token.text for token in asking.take_tokens()] == ["Hi"]
    assert (was_over, asking.is_over) == (False, True)
    assert asking.lasts() == [finished(request)]
    assert asking.out() == ()


def test_what_found_no_room_is_asked_again_after_the_time_it_was_told() -> None:
    asking = asked()
    [first] = asking.due(0.0)
    asking.take(failed(first, Overloaded("full", retry_after_s=3.0)), 1.0)
    assert asking.error is None
    assert asking.due(3.9) == ()
    assert asking.wait_s(1.0) == pytest.approx(3.0)
    [again] = asking.due(4.0)
    assert again.id != first.id, "the plane may still be ending the first"
    asking.take(finished(again), 5.0)
    assert asking.is_over


@pytest.mark.parametrize("error", [Overloaded("full"), EngineLost("gone"), QuotaExceeded("used up", retry_after_s=2.0)])
def test_new_tries_end_with_the_last_error(error: SageError) -> None:
    asking, now_s = asked(retries=2), 0.0
    for _ in range(3):
        [request] = asking.due(now_s)
        asking.take(failed(request, error), now_s)
        now_s += asking.wait_s(now_s) or 0.0
    assert isinstance(asking.error, type(error))


def test_nothing_is_asked_again_after_its_first_token() -> None:
    asking = asked()
    [request] = asking.due(0.0)
    asking.take(Token(request.id, "Once"), 0.0)
    asking.take(failed(request, EngineLost("gone")), 0.0)
    assert isinstance(asking.error, EngineLost)


@pytest.mark.parametrize(
    "error", [RequestFailed("broke"), InvalidRequest("wrong"), QuotaExceeded("used up", retry_after_s=600.0)]
)
def test_what_fails_again_or_for_long_is_told_at_once(error: SageError) -> None:
    asking = asked()
    [request] = asking.due(0.0)
    asking.take(failed(request, error), 0.0)
    assert isinstance(asking.error, type(error))
    assert asking.error.retry_after_s == error.retry_after_s


def test_a_new_try_has_what_is_left_of_the_deadline_and_none_is_made_beyond_it() -> None:
    asking = asked(deadline_s=10.0)
    [first] = asking.due(0.0)
    assert first.timeout_s == pytest.approx(10.0)
    asking.take(failed(first, Overloaded("full", retry_after_s=4.0)), 1.0)
    [again] = asking.due(5.0)
    assert again.timeout_s == pytest.approx(5.0)
    asking.take(failed(again, Overloaded("full", retry_after_s=6.0)), 5.0)
    assert isinstance(asking.error, Overloaded)


def test_a_plane_that_says_nothing_is_not_waited_for_for_ever() -> None:
    asking = asked(deadline_s=1.0)
    asking.due(0.0)
    assert asking.wait_s(0.0) == pytest.approx(1.0 + LATE_S)
    assert asking.due(1.0 + LATE_S) == ()
    assert isinstance(asking.error, DeadlineExceeded)
    assert len(asking.out()) == 1, "it is to be cancelled"


def test_the_new_tries_of_all_questions_together_are_bounded() -> None:
    shared = ports(RetryBudget())
    num_again = 0
    for _ in range(100):
        asking = OpenInquiry(chat_inquiry("Hello", "sim", {"retries": 1}), shared, 0.0)
        [request] = asking.due(0.0)
        asking.take(failed(request, Overloaded("full")), 0.0)
        num_again += asking.error is None
    assert BUDGET <= num_again < BUDGET + 15


def test_many_texts_go_out_in_bounded_parts_and_come_back_in_order() -> None:
    texts = [f"text {number}" for number in range(MAX_OUT * MAX_EMBED_TEXTS + 1)]
    asking = OpenInquiry(embed_inquiry(texts, "sim", {}), ports(), 0.0)
    out = list(asking.due(0.0))
    assert len(out) == MAX_OUT
    assert asking.due(0.0) == ()
    given: list[str] = []
    list_id = out[0].id
    while out:
        request = out.pop()
        assert isinstance(request, EmbedRequest)
        assert request.part_of == list_id
        given += request.texts
        numbers = b"".join(int(text.split()[1]).to_bytes(4, "little") for text in request.texts)
        asking.take(Embedded(request.id, numbers, 1, Usage(len(request.texts)), ENGINE), 0.0)
        out += asking.due(0.0)
    assert sorted(given) == sorted(texts)
    embeddings = embeddings_from(asking.lasts())
    assert embeddings.vectors.view("<u4")[:, 0].tolist() == list(range(len(texts)))
    assert embeddings.usage.prompt_tokens == len(texts)


def test_one_part_that_fails_ends_all() -> None:
    asking = OpenInquiry(embed_inquiry(["a"] * (2 * MAX_EMBED_TEXTS), "sim", {"retries": 0}), ports(), 0.0)
    first, second = asking.due(0.0)
    asking.take(failed(first, Overloaded("full")), 0.0)
    assert asking.is_over
    assert asking.out() == (second.id,)


def test_options_become_what_the_requests_inside_say() -> None:
    inquiry = chat_inquiry(
        [ChatMessage("system", "Be kind."), {"role": "user", "content": "Hi"}],
        "sim",
        {"max_tokens": 5, "stop": "x", "priority": "batch", "tenant": "t", "seed": -1},
    )
    [request] = inquiry.requests
    assert isinstance(request, ChatRequest)
    assert request.messages == (ChatMessage("system", "Be kind."), ChatMessage("user", "Hi"))
    assert (request.sampling.max_tokens, request.sampling.stop) == (5, ("x",))
    assert (request.service_class, request.tenant) == (ServiceClass.BATCH, "t")


def test_a_prompt_is_a_message_unless_it_is_raw() -> None:
    [chat] = prompt_inquiry("Hi", "sim", {"system": "Be kind."}).requests
    [raw] = prompt_inquiry("Hi", "sim", {"raw": True}).requests
    assert isinstance(chat, ChatRequest)
    assert [message.role for message in chat.messages] == ["system", "user"]
    assert isinstance(raw, GenerateRequest)
    assert raw.prompt == "Hi"


def test_texts_of_an_array_become_plain_ones() -> None:
    inquiry = embed_inquiry(np.array(["a", "b"]), "sim", {})  # type: ignore[arg-type]  # works, though not typed
    assert msgspec.msgpack.encode(inquiry.requests)
    assert msgspec.msgpack.encode(prompt_inquiry(np.str_("a"), np.str_("sim"), {}).requests)


@pytest.mark.parametrize("texts", [{"a": 1}, {"a", "b"}, frozenset("a")])
def test_texts_without_an_order_of_their_own_are_refused(texts: Any) -> None:
    for inquiry in (embed_inquiry, chat_inquiry):
        with pytest.raises(InvalidRequest, match="and is to be a text, or"):
            inquiry(texts, "sim", {})


HALF = "\ud800"


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        (lambda: chat_inquiry(5, "sim", {}), "messages"),  # type: ignore[arg-type]  # what is refused
        (lambda: chat_inquiry([ChatMessage("user", 5)], "sim", {}), "messages[0]"),  # type: ignore[arg-type]  # what is refused
        (lambda: chat_inquiry(HALF, "sim", {}), "messages"),
        (lambda: chat_inquiry([ChatMessage("user", HALF)], "sim", {}), "messages[0]"),
        (lambda: prompt_inquiry(HALF, "sim", {}), "prompt"),
        (lambda: prompt_inquiry("Hi", "sim", {"system": HALF}), "system"),
        (lambda: embed_inquiry(5, "sim", {}), "texts"),  # type: ignore[arg-type]  # what is refused
        (lambda: embed_inquiry(["a", HALF], "sim", {}), "texts[1]"),
        (lambda: embed_inquiry(["a"], HALF, {}), "model"),
    ],
)
def test_what_could_not_be_sent_to_an_engine_is_refused(ask: Callable[[], object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ask()
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_tokens", "5"),
        ("max_tokens", 2.5),
        ("max_tokens", 2**64),
        ("temperature", None),
        ("temperature", float("nan")),
        ("top_p", "1"),
        ("seed", 1.5),
        ("stop", 5),
        ("stop", ["a", 1]),
        ("stop", ["a", ""]),
        ("stop", [HALF]),
        ("tenant", 5),
        ("tenant", ["a"]),
        ("tenant", HALF),
        ("retries", None),
        ("retries", 1.5),
        ("deadline_s", "3"),
        ("deadline_s", float("inf")),
        ("priority", ["batch"]),
    ],
    ids=lambda value: ascii(value),
)
def test_an_option_of_a_wrong_type_is_refused_before_it_reaches_an_engine(option: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat_inquiry("Hi", "sim", {option: value})  # type: ignore[misc]  # what is refused
    assert refused.value.param == option


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        (lambda: chat_inquiry([], "sim", {}), "messages"),
        (lambda: chat_inquiry("Hi", "", {}), "model"),
        (lambda: chat_inquiry([{"role": "robot", "content": "Hi"}], "sim", {}), "messages[0]"),  # type: ignore[list-item]  # what is refused
        (lambda: chat_inquiry("Hi", "sim", {"max_tokens": 0}), "max_tokens"),
        (lambda: chat_inquiry("Hi", "sim", {"top_p": 0.0}), "top_p"),
        (lambda: chat_inquiry("Hi", "sim", {"deadline_s": 0.0}), "deadline_s"),
        (lambda: chat_inquiry("Hi", "sim", {"retries": -1}), "retries"),
        (lambda: chat_inquiry("Hi", "sim", {"priority": "soon"}), "priority"),  # type: ignore[typeddict-item]  # what is refused
        (lambda: chat_inquiry("Hi", "sim", {"tools": []}), "tools"),  # type: ignore[typeddict-unknown-key]  # what is refused
        (lambda: prompt_inquiry("Hi", "sim", {"raw": True, "system": "Be kind."}), "system"),
        (lambda: embed_inquiry([], "sim", {}), "texts"),
        (lambda: embed_inquiry(["a", ""], "sim", {}), "texts[1]"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(ask: Callable[[], object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ask()
    assert refused.value.param == param
