"""What is seen of a copy."""

import io

from modelwright.transfer.showing import Bar, counts, table
from modelwright.transfer.tally import Tally


def tallied(*differences: str) -> Tally:
    tally = Tally()
    tally.count("runs", 12_345, 12_345)
    tally.count("files", 2, 2 - len(differences))
    for difference in differences:
        tally.differs("run 1", difference)
    return tally


def test_the_table_says_both_sides_and_that_all_is_there() -> None:
    lines = table(tallied(), "there", "here").splitlines()
    assert lines[0].split() == ["source", "target", "there", "->", "here"]
    assert lines[1].split() == ["runs", "12,345", "12,345"]
    assert lines[-1] == "verified: all of it is there"


def test_or_what_differs() -> None:
    lines = table(tallied("the file a\nis not there"), "there", "here").splitlines()
    assert lines[2].split() == ["files", "2", "1", "DIFFERS"]
    assert lines[3:] == ["DIFFERS: run 1: the file a is not there", "NOT all of it is there"]


def test_no_more_than_the_first_differences_are_named() -> None:
    tally = tallied(*[f"fault {n}" for n in range(13)])
    shown = [line for line in table(tally, "a", "b").splitlines() if line.startswith("DIFFERS: ")]
    assert shown[0] == "DIFFERS: run 1: fault 0"
    assert shown[9:] == ["DIFFERS: run 1: fault 9", "DIFFERS: ... and 3 more"]


def test_what_went_wrong_is_a_difference_even_where_the_numbers_agree() -> None:
    tally = Tally()
    tally.differs("run 1", "its status is 'RUNNING', not 'FINISHED'")
    assert not tally.complete


def test_a_note_is_no_difference() -> None:
    tally = tallied()
    tally.note("a model without files")
    assert tally.complete
    assert "note: a model without files" in table(tally, "a", "b")


def test_a_count_names_one_side_alone() -> None:
    assert counts(tallied(), "there").splitlines()[:2] == ["at there, nothing copied:", f"{'runs':<18}{'12,345':>14}"]


def test_the_bar_moves_on_a_terminal_and_is_silent_anywhere_else() -> None:
    terminal, file = io.StringIO(), io.StringIO()
    for stream, is_terminal in ((terminal, True), (file, False)):
        with Bar(stream, terminal=is_terminal) as bar:
            bar.begin("runs", 3)
            bar.step()
            bar.step()
    assert "runs" in terminal.getvalue()
    assert "2/3" in terminal.getvalue()
    assert file.getvalue() == ""
