"""The reading page over HTTP: the standard library's server with a short list of what it answers, and nothing else.

::

    GET  /r/TOKEN/                       the page, once TOKEN is a reader's
    GET  /r/TOKEN/overview               JSON: progress
    GET  /r/TOKEN/case/SESSION/ORDER     JSON: one case
    GET  /r/TOKEN/pixels/SESSION/ORDER/N grey levels
    POST /r/TOKEN/answer/SESSION/ORDER   JSON; 200 means that the answer is on the disk
    GET  /static/NAME                    style and scripts
"""

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import urlsplit

from pacs_node.errors import ConfigError, DiskFull
from training.readers.reading import Reading, Unanswerable

__all__ = ["PageServer"]

PAGE = "index.html"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_ANSWER_BYTES = 65536
IDLE_S = 30  # a connection without a request is closed after this
HEADERS = {
    # Everything comes from here, and nothing of another origin may show or call this.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the path holds the token
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """Serves the readings of some readers.

    Parameters
    ----------
    readings : token -> reading.
    host, port : to listen at; port 0 takes a free one, see ``server_port``.

    Raises
    ------
    ConfigError
        The port is taken or not allowed.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, readings: Mapping[str, Reading], host: str, port: int) -> None:
        self.readings = readings
        self.static = _static_files()
        self._saving = threading.Lock()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened at ({error.strerror}): choose another --port"
            ) from error

    def save(self, reading: Reading, session: int, order: int, submitted: bytes) -> str:
        """`Reading.save`, one at a time and never cut off by `stop`."""
        with self._saving:
            return reading.save(session, order, submitted)

    def stop(self) -> None:
        """Close when no answer is on its way to the disk."""
        self._saving.acquire()  # kept: whatever comes now is not saved, and the page has not been told that it is
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away, in the middle of an answer to it, is no event."""


def _static_files() -> dict[str, bytes]:
    folder = files("training.readers") / "static"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if _suffix(entry.name) in TYPES}


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pacs-node", ""
    timeout = IDLE_S

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, act: Callable[[list[str]], None]) -> None:
        parts = urlsplit(self.path).path.split("/")[1:]
        try:
            act(parts)
        except Unanswerable as error:
            self._refuse(error.status, str(error))
        except DiskFull as error:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except ConfigError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _get(self, parts: list[str]) -> None:
        match parts:
            case ["static", name] if name in self.server.static:
                self._send_file(name)
            case ["r", token, ""]:
                self._reading(token)
                self._send_file(PAGE)
            case ["r", token, "overview"]:
                self._send_json(self._reading(token).overview())
            case ["r", token, "case", session, order]:
                self._send_json(self._reading(token).case(_number(session), _number(order)))
            case ["r", token, "pixels", session, order, number]:
                levels = self._reading(token).pixels(_number(session), _number(order), _number(number))
                self._send(HTTPStatus.OK, "application/octet-stream", levels)
            case _:
                raise Unanswerable(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _post(self, parts: list[str]) -> None:
        body = self._body()
        match parts:
            case ["r", token, "answer", session, order]:
                reading = self._reading(token)
                at = self.server.save(reading, _number(session), _number(order), body)
                self._send_json({"saved": at})
            case _:
                raise Unanswerable(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_ANSWER_BYTES:
            self.close_connection = True  # what follows is not read, so the next request cannot be found
            raise Unanswerable(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "an answer has a length, and not more than 64 kB")
        body = self.rfile.read(int(length))
        # a page of another origin can send this type only after asking, and is not answered
        if len(body) < int(length) or self.headers.get_content_type() != "application/json":
            self.close_connection = True
            raise Unanswerable(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "an answer is JSON, and complete")
        return body

    def _reading(self, token: str) -> Reading:
        if token not in self.server.readings:
            raise Unanswerable(HTTPStatus.NOT_FOUND, "this link is not of this study, or was shortened on its way")
        return self.server.readings[token]

    def _send_file(self, name: str) -> None:
        self._send(HTTPStatus.OK, f"{TYPES[_suffix(name)]}; charset=utf-8", self.server.static[name])

    def _send_json(self, value: object) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(value).encode())

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, "text/plain; charset=utf-8", message.encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Nothing: a path holds a token."""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise Unanswerable(HTTPStatus.NOT_FOUND, "there is nothing here")
    return int(text)
