"""Requests to the outside over HTTP, on urllib3: to addresses that were checked, and to no others."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from http.client import HTTPException
from typing import TYPE_CHECKING

from modelwright.errors import InvalidInput
from modelwright.insights.addresses import Destination, checked
from modelwright.insights.webhook_requests import Reply

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection

_OBJECT = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")

Resolver = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host, none for one that is unknown."""

_CONNECT_S = 3.0
_TOTAL_S = 8.0
_EXCERPT = 2048
_TRIED = 2
"""Addresses of a host that are tried, in the name server's order."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Return a host's addresses as this machine's resolver tells them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedHttp:
    """``Outbound`` that connects to the very address it checked.

    TLS is still with the host of the URL: its name is asked for and its certificate checked. No redirect
    is followed, no proxy of the environment used, nothing is repeated; of an answer the beginning is read.
    All of it has a time limit, however slowly an endpoint drips.

    Args:
        private: whether private addresses, any port and plain http are allowed.
        resolver: looks names up.
        total_s: how long one request may take after its name is resolved.
        context: whose certificates are trusted; the system's unless given.
    """

    def __init__(
        self,
        *,
        private: bool = False,
        resolver: Resolver = resolve,
        total_s: float = _TOTAL_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._private = private
        self._resolver = resolver
        self._total_s = total_s
        self._context = context

    @cached_property
    def _trusting(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()

    def check(self, url: str) -> None:
        """See ``Outbound``."""
        self._places(url)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See ``Outbound``."""
        try:
            destination, addresses = self._places(url)
        except InvalidInput as error:
            # kept with the delivery, and told in events
            return Reply(fault=error.logged)
        until = time.monotonic() + self._total_s
        reply = Reply(fault="no answer in time")
        for address in addresses[:_TRIED]:
            if (left := until - time.monotonic()) <= 0:
                break
            reply, connected = self._send(destination, address, body, headers, left)
            if connected:
                break
        return reply

    def _places(self, url: str) -> tuple[Destination, tuple[str, ...]]:
        destination = Destination.of(url, private=self._private)
        found = self._resolver(destination.host, destination.port)
        return destination, checked(destination.host, found, private=self._private)

    def _send(
        self, to: Destination, address: str, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> tuple[Reply, bool]:
        """Return what came of one address, and whether there was a connection."""
        from urllib3.exceptions import HTTPError

        connection = self._connection(to, address, min(_CONNECT_S, seconds))
        said = {**headers, "Host": to.authority, "User-Agent": "modelwright-webhooks", "Accept-Encoding": "identity"}
        connected = False
        try:
            with _no_longer_than(connection, seconds):
                connection.connect()
                connected = True
                if connection.sock is not None:
                    connection.sock.settimeout(seconds)
                connection.request("POST", to.target, body, said, preload_content=False, decode_content=False)
                answer = connection.getresponse()
                return Reply(answer.status, _beginning(answer.read)), True
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            return Reply(fault=_fault(error)), connected
        finally:
            connection.close()

    def _connection(self, to: Destination, address: str, seconds: float) -> "HTTPConnection":
        from urllib3.connection import HTTPConnection, HTTPSConnection

        if to.scheme == "http":
            return HTTPConnection(address, to.port, timeout=seconds)
        return HTTPSConnection(
            address, to.port, timeout=seconds, ssl_context=self._trusting, server_hostname=to.host,
            assert_hostname=to.host,
        )  # fmt: skip


@contextmanager
def _no_longer_than(connection: "HTTPConnection", seconds: float) -> Iterator[None]:
    """Cut a connection off after so many seconds: a timeout of a socket begins anew with each byte."""

    def cut() -> None:
        if (sock := connection.sock) is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _beginning(read: Callable[[int], bytes]) -> str:
    """Return the beginning of an answer as text; its status counts even when the rest does not come."""
    from urllib3.exceptions import HTTPError

    try:
        return read(_EXCERPT).decode(errors="replace")
    except (HTTPError, HTTPException, OSError, ValueError):
        return ""


def _fault(error: Exception) -> str:
    """Return what went wrong, without the objects that urllib3's messages name."""
    return f"{type(error).__name__}: {_OBJECT.sub('', str(error))[:200]}"
