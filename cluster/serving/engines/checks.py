"""What every engine refuses before it works: unserved models, bad sampling, too long prompts. Knows no engine."""

from cluster.serving.engines.port import EngineInfo
from sage.base.errors import ContextOverflow, InvalidRequest, RequestCancelled, SageError, UnknownModel
from sage.base.ids import RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    MAX_SCORE_PAIRS,
    ChatRequest,
    EmbedRequest,
    Failed,
    Failure,
    GenerateRequest,
    Kind,
    ModelCard,
    Request,
    Sampling,
    TextsRequest,
    kind_of,
)


def served_card(request: Request, info: EngineInfo) -> ModelCard:
    """Return the card of the model asked for; raises UnknownModel, or InvalidRequest for a kind it cannot do."""
    kind = kind_of(request)
    card = info.card(request.model, kind)
    if card is not None:
        return card
    named = [card for card in info.models if card.name == request.model]
    if not named:
        names = ", ".join(card.name for card in info.models)
        raise UnknownModel(
            f"engine {info.engine_id} serves no model {request.model!r}", f"It serves {names}.", param="model"
        )
    can = ", ".join(named[0].kinds)
    raise InvalidRequest(f"model {request.model!r} cannot {kind}", f"It can: {can}.", param="model")


def check_sampling(sampling: Sampling) -> None:
    """Raise InvalidRequest, naming the parameter, for a value that no engine can honour."""
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        raise _out_of_range("max_tokens", sampling.max_tokens, "at least 1")
    if not 0.0 <= sampling.temperature <= 2.0:
        raise _out_of_range("temperature", sampling.temperature, "from 0 to 2")
    if not 0.0 < sampling.top_p <= 1.0:
        raise _out_of_range("top_p", sampling.top_p, "above 0 and at most 1")
    if not all(sampling.stop):
        raise _out_of_range("stop", sampling.stop, "strings of at least one character")


def check_texts(request: TextsRequest) -> None:
    """Raise InvalidRequest unless it holds as many texts as an engine takes, 1 or more, all of valid Unicode."""
    most, param = (MAX_EMBED_TEXTS, "input") if isinstance(request, EmbedRequest) else (MAX_SCORE_PAIRS, "documents")
    if not 1 <= len(request.texts) <= most:
        raise InvalidRequest(f"the request holds {len(request.texts)} texts", f"Send 1 to {most} at once.", param=param)
    if not isinstance(request, EmbedRequest):
        check_unicode(request.query, "the query", "query")
    for number, text in enumerate(request.texts):
        check_unicode(text, f"text {number}", param)


def check_prompt(request: ChatRequest | GenerateRequest) -> None:
    """Raise InvalidRequest unless there is something to answer, of valid Unicode."""
    if isinstance(request, GenerateRequest):
        if not request.prompt:
            raise InvalidRequest("the prompt is empty", "Send at least one character.", param="prompt")
        check_unicode(request.prompt, "the prompt", "prompt")
        return
    if not request.messages:
        raise InvalidRequest("there are no messages", "Send at least one.", param="messages")
    for number, message in enumerate(request.messages):
        check_unicode(message.content, f"message {number} ({message.role})", "messages")


def check_unicode(text: str, what: str, param: str) -> None:
    """Raise InvalidRequest for half a surrogate pair: no tokenizer and no wire can take it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"{what} is no valid Unicode at character {error.start}"
        raise InvalidRequest(what, "Send whole characters.", param=param) from error


def _out_of_range(param: str, value: object, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"{param} is {value!r}", f"{param} must be {allowed}.", param=param)


def answer_tokens(prompt_tokens: int, sampling: Sampling, card: ModelCard) -> int:
    """Return how many tokens the answer may have; raises ContextOverflow where prompt and answer do not fit."""
    left = card.context_tokens - prompt_tokens
    wanted = sampling.max_tokens
    if left < 1 or (wanted is not None and wanted > left):
        raise overflow(f"{prompt_tokens:,} tokens", wanted, card)
    return left if wanted is None else wanted


def overflow(prompt_tokens: str, wanted: int | None, card: ModelCard) -> ContextOverflow:
    """Return the error of a prompt of `prompt_tokens` (as people read it: "9,000 tokens") and its answer."""
    answer = "" if wanted is None else f" and max_tokens asks for {wanted:,} more"
    return ContextOverflow(
        f"the prompt has {prompt_tokens}{answer}; the context of {card.name!r} holds {card.context_tokens:,} tokens",
        "Shorten the prompt." if wanted is None else "Shorten the prompt or lower max_tokens.",
        param="messages" if Kind.CHAT in card.kinds else "prompt",
    )


def failed(request_id: RequestId, error: SageError) -> Failed:
    """Return `error` as the reply that ends a request."""
    return Failed(request_id, Failure.of(error))


def cancelled(request_id: RequestId) -> Failed:
    return failed(request_id, RequestCancelled("the request was cancelled"))
