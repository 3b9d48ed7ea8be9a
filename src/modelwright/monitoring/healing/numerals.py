"""Numbers as people write them: how many decimals, whether a whole number has a point, and formulas over them."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Floats = npt.NDArray[np.float64]

_PLAIN = re.compile(r"[+-]?(\d+)(?:\.(\d*))?")
_MOST = 12
"""A number written with more decimals than this was calculated, not measured."""
_ALL = 0.99
_OFFSET = 512.0
"""What was added and taken away again on the way to a number may be so large: the noise is that of this."""


class Style(BaseModel):
    """How a column writes its numbers.

    Attributes:
        decimals: at most so many; None: as many as it takes to tell a float from its neighbours.
        padded: all have so many, with zeros at their ends.
        point: whole numbers are written as ``7.0``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    decimals: int | None = None
    padded: bool = False
    point: bool = True

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> "Style":
        """Return how most of these are written; texts that are no plain numbers say nothing."""
        found = [match for text in texts if text and (match := _PLAIN.fullmatch(text.strip()))]
        counts = Counter(len(match[2] or "") for match in found)
        if not counts:
            return cls()
        most = max(counts)
        whole = [match for match in found if not (match[2] or "").strip("0")]
        padded = len(counts) == 1 and most > 1
        return cls(
            decimals=None if most > _MOST else most,
            padded=padded,
            point=any(match[2] for match in whole) if whole else True,
        )

    def write(self, number: float) -> str:
        """Return a number as text."""
        if self.decimals is not None:
            number = round(number, self.decimals)
            if self.padded:
                return f"{number:.{self.decimals}f}"
        text = repr(float(number))
        if "e" in text:
            text = np.format_float_positional(number, trim="0")
        return text if self.point or not text.endswith(".0") else text[:-2]


def decimals_of(values: Floats) -> int:
    """Return in how many decimals nearly all of these numbers were written; 15 if they were calculated."""
    if not values.size:
        return 15
    for decimals in range(_MOST):
        if np.mean(written(values, decimals)) >= _ALL:
            return decimals
    return 15


def written(values: Floats, decimals: int) -> npt.NDArray[np.bool_]:
    """Say which numbers have no more than so many decimals, but for what calculating in floats adds."""
    noise = 8 * np.spacing(np.maximum(np.abs(values), _OFFSET))
    return np.asarray(np.abs(values - np.round(values, decimals)) <= noise)


def evaluated(formula: str, values: Sequence[float] | Floats) -> Floats:
    """Return a formula over ``x``, such as ``(x-32)*5/9``, calculated in the order in which it is written."""
    import pandas as pd

    x = np.asarray(values, dtype=np.float64)
    return np.asarray(pd.eval(formula, engine="python", local_dict={"x": x}), dtype=np.float64) + np.zeros_like(x)
