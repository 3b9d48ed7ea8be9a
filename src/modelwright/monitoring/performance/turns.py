"""Turns: the same work for one model after another, where what is wrong with one must not keep it from the others."""

from collections.abc import Callable, Iterable


def in_turn(names: Iterable[str], work: Callable[[str], object]) -> None:
    """Do the work for each name, whatever becomes of the others, and raise what went wrong when all had their turn.

    What is raised is the last error, with a note of what it was about; those before it are its context.
    """
    rest = iter(names)
    for name in rest:
        try:
            work(name)
        except Exception as error:  # whatever it is, it is raised once the others had their turn
            error.add_note(f"of model {name}")
            in_turn(rest, work)
            raise
