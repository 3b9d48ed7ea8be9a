"""The commands as a person runs them: processes of their own, in a folder of their own."""

import json
import os
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

COMMAND = str(Path(sysconfig.get_path("scripts")) / "modelwright")
_OURS = ("AWS_", "MLFLOW_", "MODELWRIGHT_", "LAMBDA_")


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def complaint(self) -> str:
        """The one line that a failing command prints to standard error."""
        assert self.code == 1, self
        (line,) = self.err.splitlines()
        return line


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a shell in which nobody has set anything of ours, but ``more``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**inherited, "PYTHONUNBUFFERED": "1", **(more or {})}


def run(*arguments: str, folder: Path, limit_s: float = 120, variables: Mapping[str, str] | None = None) -> Said:
    """Run ``modelwright`` in a folder to its end."""
    return execute(COMMAND, *arguments, folder=folder, limit_s=limit_s, variables=variables)


def execute(*command: str, folder: Path, limit_s: float = 120, variables: Mapping[str, str] | None = None) -> Said:
    """Run any program in a folder to its end."""
    done = subprocess.run(
        command, cwd=folder, env=environment(variables), capture_output=True, text=True, timeout=limit_s, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Watched:
    """A running ``modelwright``, whose lines are kept with the seconds after which each appeared."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    lines: list[tuple[float, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [COMMAND, *self.arguments],
            cwd=self.folder,
            env=environment(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [threading.Thread(target=read) for read in (self._read_out, self._read_errors)]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.end()

    @property
    def said(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def wait_for(self, beginning: str, limit_s: float) -> float:
        """Return the seconds after which the first line with this beginning appeared."""
        deadline = time.monotonic() + limit_s
        while True:
            running = self.process.poll() is None
            for seconds, line in self.lines:
                if line.startswith(beginning):
                    return seconds
            assert running, f"it ended without {beginning!r}: {self.said} {self.errors}"
            assert time.monotonic() < deadline, f"no {beginning!r} in {limit_s} s: {self.said}"
            time.sleep(0.02)

    def end(self, limit_s: float = 120) -> int:
        """Wait for its end and return its exit status."""
        code = self.process.wait(limit_s)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        self.seconds = time.monotonic() - self._started
        return code

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic() - self._started, line.rstrip("\n")))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(line.rstrip("\n") for line in self.process.stderr)


def exported(folder: Path, target: Path) -> list[dict[str, Any]]:
    """Return the envelopes of the whole log of the stack that runs in a folder, by ``modelwright log export``."""
    said = run("log", "export", str(target), folder=folder)
    assert said.code == 0, said
    return [json.loads(json.loads(line)["envelope"]) for line in target.read_text().splitlines()]
