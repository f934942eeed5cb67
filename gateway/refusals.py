"""How the routes of FastAPI tell errors: by OpenAI's bodies, as the hot routes do. Knows no route."""

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from gateway.errors import RequestRefused, problem_of
from sage.base.errors import InternalError, SageError


def add_refusals(app: FastAPI) -> None:
    """Have `app` answer every error."""

    @app.exception_handler(HTTPException)
    async def tell_http(request: Request, error: HTTPException) -> Response:
        reason = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        what = f"{request.method} {request.url.path} is not served here."
        return _refusal(RequestRefused(what, reason=reason, status=error.status_code), dict(error.headers or {}))

    @app.exception_handler(SageError)
    async def tell_sage(_request: Request, error: SageError) -> Response:
        return _refusal(error)

    @app.exception_handler(Exception)
    async def tell_any(_request: Request, _error: Exception) -> Response:
        return _refusal(InternalError("unexpected"))


def _refusal(error: SageError, headers: dict[str, str] | None = None) -> Response:
    problem = problem_of(error, "none")
    given = {name.decode(): value.decode() for name, value in problem.headers()}
    return Response(problem.json(), problem.status, {**(headers or {}), **given}, "application/json")
