"""``Fetch`` over https with the standard library: small documents, no redirects, no waiting for long.

Who may trust an identity provider says which addresses this stack asks, and the provider itself says more of them. As
with webhooks they are those of the public internet alone, and the connection goes to the very address that was checked.
"""

import http.client
import socket
import ssl
from urllib.parse import urlsplit

from modelwright.adapters.outbound import Resolver, resolve
from modelwright.errors import Unavailable
from modelwright.insights.addresses import refusal

TIMEOUT_S = 3.0
LIMIT_BYTES = 512 * 1024


def fetch(url: str, *, private: bool = False, resolver: Resolver = resolve) -> bytes:
    """Return what an https address answers.

    Args:
        url: the address.
        private: whether its host may have an address that is not public.
        resolver: looks names up.

    Raises:
        Unavailable: it is not https or not public, does not answer in time or with 200, redirects, or says more than
            512 KB.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Unavailable(f"{url} is no address: {error}") from error
    if parts.scheme != "https" or not host:
        raise Unavailable(f"{url} is no https address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    addresses = resolver(host, port or http.client.HTTPS_PORT)
    refused = [] if private else [reason for address in addresses if (reason := refusal(address))]
    if refused or not addresses:
        raise Unavailable(f"{host} cannot be asked: {refused[0] if refused else 'it has no address'}")
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    try:
        connection.sock = _connected(addresses[0], connection.port, host, context)
        connection.request("GET", path, headers={"accept": "application/json", "user-agent": "modelwright"})
        answer = connection.getresponse()
        body = answer.read(LIMIT_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{host} does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK or len(body) > LIMIT_BYTES:
        raise Unavailable(f"{host} answered {answer.status} with {len(body)} bytes or more")
    return body


def _connected(address: str, port: int, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection to an address, whose certificate is that of the host."""
    plain = socket.create_connection((address, port), TIMEOUT_S)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except (OSError, ValueError):
        plain.close()
        raise
