"""Replays the answers of AWS at the HTTP level, so that what a process computes is all that a measurement sees.

Nothing but botocore is imported: the other side's interpreter takes this file too.
"""

import hashlib
import io
from typing import Any

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.httpsession import URLLib3Session


class Replaying:
    """Sends a request the first time it is seen, and answers it from memory from then on.

    Attributes:
        sent: how many requests went out.
        replayed: how many did not.
    """

    def __init__(self) -> None:
        self.sent = self.replayed = 0
        self._known: dict[bytes, tuple[int, dict[str, str], bytes]] = {}
        self._send = URLLib3Session.send

    def __enter__(self) -> "Replaying":
        """Stand between botocore and the network."""
        replaying = self

        def send(self: URLLib3Session, request: Any) -> Any:
            return replaying.answer(self, request)

        URLLib3Session.send = send  # type: ignore[method-assign]
        return self

    def __exit__(self, *_raised: object) -> None:
        """Step aside."""
        URLLib3Session.send = self._send  # type: ignore[method-assign]

    def answer(self, session: Any, request: Any) -> Any:
        """Return an answer with the body of the first one to an equal request."""
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        key = hashlib.blake2b(request.url.encode() + b"\n" + body, digest_size=16).digest()
        if key not in self._known:
            answer = self._send(session, request)
            self._known[key] = answer.status_code, dict(answer.headers), answer.content
            self.sent += 1
        else:
            self.replayed += 1
        status, headers, content = self._known[key]
        told: Any = HeadersDict(headers)
        return AWSResponse(request.url, status, told, _Body(content))


class _Body(io.BytesIO):
    def stream(self, *_arguments: Any, **_options: Any) -> Any:
        """Yield all of it, as urllib3 does."""
        yield self.read()
