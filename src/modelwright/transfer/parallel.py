"""Work on many things, some at a time, without keeping a queue of all of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
_AHEAD = 256


def for_each(items: Iterable[T], work: Callable[[T], None], threads: int) -> None:
    """Do ``work`` on every item; the first error ends it, once what is under way is done."""
    pool, rest = ThreadPoolExecutor(threads), iter(items)
    try:
        while chunk := list(islice(rest, _AHEAD)):
            for done in [pool.submit(work, item) for item in chunk]:
                done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
