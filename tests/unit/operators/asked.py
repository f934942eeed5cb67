"""Replies by hand, for the tests of model steps. Knows no test."""

from collections.abc import Sequence

import numpy as np

from operators.machine import Ask, Command, Machine
from sage.base.errors import SageError
from sage.base.ids import EngineId
from sage.base.inference import Embedded, EmbedRequest, Failed, Failure, Finished, Reply, Request, Token, Usage


def asked(commands: Sequence[Command]) -> list[Request]:
    return [request for command in commands if isinstance(command, Ask) for request in command.requests]


def says(request: Request, *pieces: str) -> list[Reply]:
    tokens: list[Reply] = [Token(request.id, piece) for piece in pieces]
    return [*tokens, Finished(request.id, "stop", Usage(3, len(pieces)), EngineId("e"))]


def embedded(request: EmbedRequest) -> Embedded:
    """Vectors of dim 2: how long each text is, and 1."""
    vectors = np.array([[len(text), 1] for text in request.texts], "<f4").tobytes()
    return Embedded(request.id, vectors, 2, Usage(len(request.texts)), EngineId("e"))


def refused(request: Request, error: SageError) -> Failed:
    return Failed(request.id, Failure.of(error))


def reply(driven: Machine, *replies: Reply) -> list[Command]:
    return driven.on_replies(replies)
