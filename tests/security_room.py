"""Helpers for tests of secrets: a secrets file, and a server that records the requests it gets."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def keyring(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secrets.yml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


@contextlib.contextmanager
def listening(answer: dict[str, str], status: int) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A server that always gives this answer. Yields its port and the list of (path, Authorization) of its requests."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.path, self.headers.get("Authorization", "")))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **answer}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()
