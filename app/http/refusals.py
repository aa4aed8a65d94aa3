"""Refusals of what is no request that the app could answer: see `app/http/protocol.py`."""

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.errors import RETRY_AFTER_SECONDS, problem
from app.http.headers import secured
from app.http.inference_errors import inference_error, is_of_protocol


class Refused(Exception):
    """Ends the parsing of a connection: the status, the code and the detail of the answer."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail

    def answer_at(self, path: str) -> ASGIApp:
        """Return an app that answers with the error, in the form that errors have at the path."""
        tell = inference_error if is_of_protocol(path) else problem
        close = {"Connection": "close"}
        if self.status is HTTPStatus.SERVICE_UNAVAILABLE:
            close["Retry-After"] = str(RETRY_AFTER_SECONDS)
        answer = tell(self.status, self.code, self.detail, headers=close)
        headers = secured(answer.raw_headers)

        async def send_refusal(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": bytes(answer.body)})

        return send_refusal


def bad_request(detail: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "bad_request", detail)


def busy(max_connections: int) -> Refused:
    detail = f"the service has {max_connections} connections already; try again"
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail)


def head_too_large(max_bytes: int) -> Refused:
    detail = f"the request's line and headers may have {max_bytes} bytes; these have more"
    return Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
