"""What all handlers of the web page have in common: who is let in, and how one is refused."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, ClassVar, Literal

import msgspec
from tornado.web import HTTPError, RequestHandler

from mrkernel.errors import ClusterError
from mrkernel.manager.web_desk import Desk
from mrkernel.manager.web_files import SENTENCE_STYLE_HASH, sentence_html

logger = logging.getLogger("mrkernel.manager")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

#: Of a page that says one sentence to anybody: it has its few lines of style with it.
SENTENCE_POLICY = (
    f"default-src 'none'; style-src '{SENTENCE_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

_SENTENCES = {
    400: "This request makes no sense here: go back to the page at / and try again.",
    404: "There is nothing at this address: the page of the cluster is at /.",
    405: "This address only shows things: the page of the cluster is at /.",
}
_OURS = "Something went wrong in the manager: its log says what; reload to try again."
_NO_HOST = (
    "This manager's page does not go by that name: open the address that it was started with."
)
_NO_TOKEN = (
    "This page needs its token: `mrkernel watch --web` on the manager's machine says the whole "
    "address."
)
_NO_ORIGIN = "This comes from another site's page, so it is refused: use the manager's own page."


class Refusal(HTTPError):
    """A request is not answered, and why: one sentence that ends in what to do."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status)
        self.sentence = sentence


def no_such_job(job: str) -> Refusal:
    """Refuse what asks for a job that is not known."""
    return Refusal(
        404, f"There is no job {job} here, or it was forgotten: the page at / lists all there are."
    )


class Guarded(RequestHandler):
    """Answers only those who are let in, and everybody with the headers that keep browsers safe."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST")

    #: What refusals are written as.
    refuses_in: ClassVar[Literal["html", "json", "text"]] = "html"

    def initialize(self, desk: Desk) -> None:
        """Know the site."""
        self.desk = desk

    def set_default_headers(self) -> None:
        """Set the headers of every answer."""
        self.clear_header("Server")
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse who is not let in.

        Raises:
            Refusal: it does not go on.
        """
        access, headers = self.desk.access, self.request.headers
        if not access.answers_to(self.request.host):
            raise Refusal(403, _NO_HOST)
        if not self.says_token() and not self.knows_us():
            raise Refusal(403, _NO_TOKEN)
        origin = headers.get("Origin")
        if origin is not None and not access.is_own(origin, self.request.host):
            raise Refusal(403, _NO_ORIGIN)

    def compute_etag(self) -> None:
        """Nothing is stored, so that nothing is asked for again."""

    def says_token(self) -> bool:
        """Whether a program asks; no page of another site could say it in a browser's name."""
        kind, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return kind == "Bearer" and self.desk.access.takes_token(token)

    def knows_us(self) -> bool:
        """Whether a browser has been here before."""
        access = self.desk.access
        return access.takes_cookie(self.get_cookie(access.cookie_name, ""))

    def require_origin(self) -> None:
        """Refuse a browser that does not say whose page speaks: all do where it matters.

        Raises:
            Refusal: so it is.
        """
        if "Origin" not in self.request.headers and not self.says_token():
            raise Refusal(403, _NO_ORIGIN)

    def write_json(self, value: Any) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say in one sentence why not."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ClusterError):
            status_code, sentence = 503, str(error)
            self.set_status(status_code)
        else:
            default = _SENTENCES.get(status_code, _OURS)
            sentence = error.sentence if isinstance(error, Refusal) else default
        if self.refuses_in == "json":
            self.write_json({"sentence": sentence})
        elif self.refuses_in == "html":
            self.set_header("Content-Security-Policy", SENTENCE_POLICY)
            self.finish(sentence_html(sentence))
        else:
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(sentence + "\n")

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log bugs of ours; never an address, for the token may be in it."""
        if not isinstance(value, HTTPError | ClusterError):
            logger.error(
                "could not answer %s %s",
                *(self.request.method, self.request.path),
                exc_info=(typ, value, tb) if typ and value else None,
            )


class Nothing(Guarded):
    """Every other address."""

    def prepare(self) -> None:
        """Refuse.

        Raises:
            Refusal: always.
        """
        super().prepare()
        raise Refusal(404, _SENTENCES[404])
