"""A web server of files, with the manners of the many there are."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

SHORT = 100

os.environ["no_proxy"] = "127.0.0.1"  # a proxy would not find it


@dataclass
class FileServer:
    """Files by path, and how they are sent.

    Attributes:
        url: of the server, without a slash at its end.
        files: path → what is in it.
        ranges: it sends parts of files.
        lengths: it says how long they are.
        cuts: numbers, from 1, of the bodies over ``SHORT`` bytes that end in the middle, and the
            connection with them; those of the client, which looks at a file first, count as well.
        status: what it says instead of sending a file, by path.
        changes: a file that gets longer when somebody asks for it with ``?change``.
        asked: (method, path, bytes sent) of each request, in order.
        bodies: over ``SHORT`` bytes, sent so far.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    cuts: Container[int] = ()
    status: dict[str, int] = field(default_factory=dict)
    changes: str = ""
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    bodies: int = 0

    def sent(self, path: str) -> int:
        """How many bytes of a file were sent, all in all."""
        return sum(size for method, name, size in self.asked if (method, name) == ("GET", path))

    def page(self, folder: str) -> bytes:
        """A page with links to what is in a folder."""
        below = {
            name[len(folder) :].partition("/") for name in self.files if name.startswith(folder)
        }
        links = sorted({name + slash for name, slash, _ in below})
        odd = ['<a href="?C=M;O=A">by date</a>', '<a href="../">up</a>']
        return "\n".join(odd + [f'<a href="{link}">{link}</a>' for link in links]).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        shop: FileServer = self.server.shop  # type: ignore[attr-defined]
        path = unquote(self.path.partition("?")[0])
        if shop.changes == path and self.path.endswith("?change"):
            shop.files[path] += b"more\n"
        data = shop.files.get(path)
        is_page = data is None and path.endswith("/")
        data = shop.page(path) if is_page else data
        if data is None and any(name.startswith(f"{path}/") for name in shop.files):
            self.send_response(301)
            self.send_header("Location", f"{path}/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = shop.status.get(path, 200 if data is not None else 404)
        if data is None or status != 200:
            shop.asked.append((self.command, path, 0))
            self.send_error(status)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        part = data
        if shop.ranges and asked and not is_page:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
            part = data[start:stop]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            self.send_response(200)
        if shop.lengths or (body is None and shop.ranges and asked):
            self.send_header("Content-Length", str(len(part)))
        elif body is None:
            self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Type", "text/html" if is_page else "text/plain")
        self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self.end_headers()
        if body is not None:
            shop.asked.append((self.command, path, 0))
            return
        shop.bodies += len(part) > SHORT
        cut = len(part) > SHORT and shop.bodies in shop.cuts
        part = part[: len(part) // 2] if cut else part
        shop.asked.append((self.command, path, len(part)))
        if not shop.lengths and not (shop.ranges and asked):
            part = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
            part += b"" if cut else b"0\r\n\r\n"
        try:
            self.wfile.write(part)
        except OSError:
            self.close_connection = True  # who asked has enough
        self.close_connection |= cut


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        pass  # a client that went away


@contextmanager
def serving(**manners: Any) -> Iterator[FileServer]:
    """Run a server in this process."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        shop = FileServer(f"http://127.0.0.1:{server.server_port}", **manners)
        server.shop = shop  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield shop
        finally:
            server.shutdown()
            thread.join()
