"""``Fetch`` over https with the standard library: small documents, no redirects, no waiting for long."""

import http.client
import ssl
from urllib.parse import urlsplit

from modelwright.errors import Unavailable

TIMEOUT_S = 3.0
LIMIT_BYTES = 512 * 1024


def fetch(url: str) -> bytes:
    """Return what an https address answers.

    Raises:
        Unavailable: it is not https, does not answer in time or with 200, redirects, or says more than 512 KB.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Unavailable(f"{url} is no address: {error}") from error
    if parts.scheme != "https" or not host:
        raise Unavailable(f"{url} is no https address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    try:
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
