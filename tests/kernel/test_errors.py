"""Errors name the thing and its state."""

from modelwright.errors import ChainBroken, ConditionFailed


def test_a_broken_chain_names_its_place() -> None:
    error = ChainBroken("WS#default#MODEL#a", 3, "it was altered")
    assert str(error) == "WS#default#MODEL#a is broken at 3: it was altered"
    assert (error.stream, error.sequence) == ("WS#default#MODEL#a", 3)


def test_a_failed_condition_knows_the_writes() -> None:
    assert ConditionFailed("no", (1, 2)).failed == (1, 2)
