"""The JSON schemas of all events, as files for people who consume them without our code.

Written by ``python -m modelwright.schemas events/schemas``; with ``--check`` nothing is written, and the exit
status is 1 if a file differs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from modelwright.events import Envelope, ScheduleDue, kinds


def schemas() -> dict[str, str]:
    """Return the text of each schema by file name: every event's data, the envelope, and the schedules' command."""
    models: dict[str, type[BaseModel]] = {**kinds(), "Envelope": Envelope, "ScheduleDue": ScheduleDue}
    return {
        f"{name}.json": json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
        for name, model in sorted(models.items())
    }


def differences(folder: Path) -> tuple[str, ...]:
    """Return what is wrong with the files in a folder, one sentence each."""
    wanted = schemas()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    faults = [f"{name} is missing" for name in wanted if name not in there]
    faults += [
        f"{name} differs from modelwright.events" for name in wanted if there.get(name, wanted[name]) != wanted[name]
    ]
    faults += [f"{name} is no event of modelwright.events" for name in there if name not in wanted]
    return tuple(sorted(faults))


def write(folder: Path) -> None:
    """Make the files in a folder what they should be; those of events that are no more are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="modelwright.schemas", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file differs")
    given = parser.parse_args(arguments)
    if not given.check:
        write(given.folder)
        return 0
    faults = differences(given.folder)
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    if faults:
        sys.stdout.write(f"write them again with: python -m modelwright.schemas {given.folder}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
