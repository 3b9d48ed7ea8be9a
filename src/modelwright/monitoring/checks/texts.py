"""The check of encodings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.checks.files import Fault, File, held, mask_of
from modelwright.monitoring.reading import REPLACEMENT


@dataclass(frozen=True)
class Encoding:
    """Texts hold bytes that are no UTF-8, or UTF-8 that was read as something else.

    The second shows when a text with characters beyond ASCII, written in Windows-1252 or Latin-1, is UTF-8 again:
    of what people write that is as good as never so by chance.
    """

    learned: ClassVar[bool] = False
    name: str = "encoding"

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column, declared in file.source.columns.items():
            if declared.type != "string":
                continue
            texts = file.column(column)
            strange = [text for text in pc.unique(texts.filter(_beyond_ascii(texts))).to_pylist() if misread(text)]
            if strange:
                rows = mask_of(pc.is_in(texts, pa.array(strange)))
                found.append(held(self.name, column, rows, "not encoded in UTF-8, or twice"))
        return found


def _beyond_ascii(texts: pa.Array) -> pa.Array:
    return pc.fill_null(pc.invert(pc.string_is_ascii(texts)), False)


def misread(text: str) -> bool:
    """Say whether a text is what comes of bytes that were read in another encoding."""
    if text.isascii():
        return False
    if REPLACEMENT in text:
        return True
    for encoding in ("cp1252", "latin-1"):
        try:
            text.encode(encoding).decode()
        except UnicodeError:
            continue
        return True
    return False
