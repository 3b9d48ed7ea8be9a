"""Rounds: the same work for one thing after another, where what is wrong with one must not keep it from the others."""

from collections.abc import Callable, Iterable


def go_round(parts: Iterable[Callable[[], object]]) -> None:
    """Do each part in order, whatever becomes of the others, and raise what went wrong when all are done.

    What is raised is the last error; those before it are its context, so that a traceback shows all of them.
    """
    rest = iter(parts)
    for part in rest:
        try:
            part()
        except Exception:  # whatever it is, it is raised once the others had their turn
            go_round(rest)
            raise
