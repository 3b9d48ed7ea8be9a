"""A receiver as MLflow's documentation describes one, behind a loopback port."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "correct horse battery staple"


class Receiver(BaseHTTPRequestHandler):
    """Checks the signature, and keeps what is signed; is away for as many requests as it is told."""

    got: list[dict[str, Any]]
    away: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        signed = f"{self.headers['X-MLflow-Delivery-Id']}.{self.headers['X-MLflow-Timestamp']}.{body}"
        digest = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
        genuine = self.headers["X-MLflow-Signature"] == f"v1,{base64.b64encode(digest).decode()}"
        if self.away[0] > 0:
            self.away[0] -= 1
            self.send_error(503)
            return
        if genuine:
            self.got.append(json.loads(body))
        self.send_response(200 if genuine else 401)
        self.end_headers()
        self.wfile.write(b"thanks" if genuine else b"who are you?")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


@contextmanager
def receiver(*, away: int = 0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a receiver; give its URL, and what it got."""
    got: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Receiver,), {"got": got, "away": [away]}))
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?key=abc", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
