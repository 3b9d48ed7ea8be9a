import json
from pathlib import Path
from typing import Any

from modelwright.local.invocations import details, outcome, read, trim


def invocation(**changed: Any) -> dict[str, Any]:
    line = {"level": "INFO", "message": "run created", "correlation_id": "c-7"}
    base = {"time": 0.0, "function": "tracking", "request_id": "r-1", "failed": False, "ms": 12}
    return {**base, "lines": [json.dumps(line)], **changed}


def test_an_outcome_is_one_line_with_the_correlation_id() -> None:
    line = outcome(invocation())
    assert line.endswith("tracking     run created: ok  12 ms  c-7")


def test_a_failure_shows_its_last_line_and_the_request() -> None:
    line = outcome(invocation(failed=True, lines=["Traceback", "KeyError: 'x'"]))
    assert "KeyError: 'x': failed" in line
    assert line.endswith("r-1")


def test_details_tell_every_line_and_silence_too() -> None:
    assert len(list(details(invocation(lines=["{broken", '{"message": "b"}'])))) == 2
    assert list(details(invocation(lines=[]))) == [outcome(invocation(lines=[]))]


def test_reading_stops_at_the_end_and_ignores_an_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "invocations.jsonl"
    assert list(read(path, follow=False)) == []
    path.write_text('{"function": "a"}\n{"func')
    assert list(read(path, follow=False)) == [{"function": "a"}]


def test_only_a_large_file_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "invocations.jsonl"
    path.write_text("x")
    trim(path)
    assert path.exists()
    with path.open("wb") as stream:
        stream.truncate(21 << 20)
    trim(path)
    assert not path.exists()
