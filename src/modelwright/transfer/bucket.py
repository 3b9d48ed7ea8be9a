"""Files to and from the bucket by signed URLs: streamed, in parts, and never more than a block in memory."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import requests

from modelwright.errors import InvalidInput, NotFound, Unavailable

PART_BYTES: Final = 64 * 1024 * 1024
PARTS_LIMIT = 10_000
_BLOCK_BYTES = 1024 * 1024
_AT_ONCE = 4
_TIMEOUT_S = 300
_PAUSES_S = (0.5, 2, 8)

Ask = Callable[[str, Mapping[str, Any]], Any]
"""Asks the API for ``create``, ``complete`` or ``abort`` of an upload."""


class Slice:
    """A part of a file as a body of a request: it is read as it is sent.

    Args:
        file: the file.
        start: the first byte.
        length: how many bytes.
    """

    def __init__(self, file: Path, start: int, length: int) -> None:
        self._file, self._start, self._length = file, start, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        with self._file.open("rb") as opened:
            opened.seek(self._start)
            left = self._length
            while left > 0 and (block := opened.read(min(left, _BLOCK_BYTES))):
                left -= len(block)
                yield block
        if left:
            raise InvalidInput(f"{self._file.name} became shorter while it was read")


def upload(file: Path, ask: Ask, part_bytes: int = PART_BYTES, pauses_s: Sequence[float] = _PAUSES_S) -> None:
    """Upload a file in as many parts as it takes; what was begun and failed is given up."""
    size = file.stat().st_size
    length = max(part_bytes, -(-size // PARTS_LIMIT))
    slices = [Slice(file, start, min(length, size - start)) for start in range(0, size, length)]
    begun = ask("create", {"num_parts": len(slices)})
    told = {"upload_id": begun["upload_id"]}
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            etags = list(pool.map(_send, begun["credentials"], slices, repeat((*pauses_s, None))))
    except (NotFound, InvalidInput, Unavailable):
        ask("abort", told)
        raise
    parts = [
        {"part_number": credential["part_number"], "etag": etag, "url": credential["url"]}
        for credential, etag in zip(begun["credentials"], etags, strict=True)
    ]
    ask("complete", {**told, "parts": parts})


def download(url: str, headers: Mapping[str, str], size: int, file: Path) -> None:
    """Write what lies at a signed URL into a file."""
    for pause in (*_PAUSES_S, None):
        try:
            with requests.get(url, headers=dict(headers), stream=True, timeout=_TIMEOUT_S) as answer:
                _check(answer)
                with file.open("wb") as opened:
                    for block in answer.iter_content(_BLOCK_BYTES):
                        opened.write(block)
            if file.stat().st_size == size:
                return
            reason = f"{file.stat().st_size} of {size} bytes came"
        except (requests.RequestException, Unavailable) as error:
            reason = str(error)
        if pause is not None:
            time.sleep(pause)
    raise Unavailable(f"the bucket does not answer for {file.name}: {reason}")


def _send(credential: Mapping[str, Any], part: Slice, pauses: Sequence[float | None]) -> str:
    reason = ""
    for pause in pauses:
        try:
            answer = requests.put(
                credential["url"], data=part, headers=dict(credential.get("headers") or {}), timeout=_TIMEOUT_S
            )
            _check(answer)
            return str(answer.headers.get("etag", ""))
        except (requests.RequestException, Unavailable) as error:
            reason = str(error)
        if pause is not None:
            time.sleep(pause)
    raise Unavailable(f"the bucket does not take part {credential['part_number']}: {reason}")


def _check(answer: requests.Response) -> None:
    if answer.ok:
        return
    text = f"{answer.status_code} {answer.text[:200]}"
    if answer.status_code >= 500:
        raise Unavailable(text)
    raise NotFound(text) if answer.status_code == 404 else InvalidInput(text)
