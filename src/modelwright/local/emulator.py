"""The emulator as a process: started, found again, and stopped with nothing left behind.

The process holds a lock on ``emulator.lock`` for as long as it lives, so whether it runs is never
guessed from a pid that another program may have by now. It leads a process group of its own: Ctrl-C
in a terminal does not reach it, and its Lambda workers end with it. All that it writes is below one
folder; it listens on 127.0.0.1 and nowhere else.

SIGTERM saves its state. SIGKILL loses what DynamoDB and EventBridge hold since the start (S3's
objects are on disk at once).
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from modelwright.errors import LocalStackError
from modelwright.local.server import HOST

REGION = "us-east-1"
START_LIMIT_S = 30.0
STOP_LIMIT_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Credentials:
    """Root credentials of the emulated account: of the laptop's own tools, never of a function."""

    access_key: str
    secret_key: str


class Emulator:
    """MiniStack below one folder.

    Args:
        home: where it keeps state, objects, temporary files and its log.
        port: the loopback port.
        credentials: what the laptop's tools sign with.
    """

    def __init__(self, home: Path, port: int, credentials: Credentials) -> None:
        self.home = home
        self.port = port
        self.credentials = credentials

    @property
    def endpoint(self) -> str:
        """The URL of both AWS and the HTTP API."""
        return f"http://{HOST}:{self.port}"

    @property
    def invocations(self) -> Path:
        """The file with one JSON line per invocation of a function."""
        return self.home / "invocations.jsonl"

    @property
    def log(self) -> Path:
        """What the emulator itself prints."""
        return self.home / "emulator.log"

    def pid(self) -> int | None:
        """Return the running process's id, or None when none runs."""
        with self._lock_file() as lock:
            if _locked(lock):
                return None
            return int(lock.read() or 0) or None

    def start(self) -> int:
        """Start the process unless it runs, wait until it answers, and return its id.

        Raises:
            LocalStackError: the port is taken, or the process ended; says why.
        """
        with self._lock_file() as lock:
            if not _locked(lock):
                return int(lock.read())
            self._refuse_taken_port()
            self._prepare()
            lock.truncate(0)
            self._spawn(lock)
        return self._await_answer()

    def stop(self) -> None:
        """End the process and its workers; its state is saved. Does nothing when none runs."""
        pid = self.pid()
        if pid is None:
            return
        _signal(pid, signal.SIGTERM)
        stopped = self._await_end(STOP_LIMIT_S)
        _signal_group(pid, signal.SIGTERM if stopped else signal.SIGKILL)
        if not stopped:
            raise LocalStackError(f"the emulator (pid {pid}) did not save its state in {STOP_LIMIT_S:.0f} s: killed")

    def _lock_file(self) -> IO[str]:
        self.home.mkdir(parents=True, exist_ok=True)
        return (self.home / "emulator.lock").open("a+", encoding="ascii")

    def _refuse_taken_port(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as taken:
                message = f"port {self.port} is in use by another program: stop it, or choose another port"
                raise LocalStackError(message) from taken

    def _prepare(self) -> None:
        shutil.rmtree(self.home / "tmp", ignore_errors=True)
        for name in ("tmp", "state", "objects"):
            (self.home / name).mkdir(parents=True, exist_ok=True)

    def _spawn(self, lock: IO[str]) -> None:
        """Run the server, which leaves this process's tree and takes the lock along."""
        with self.log.open("ab") as log:
            subprocess.run(  # noqa: S603  our own arguments
                [sys.executable, "-m", "modelwright.local.server", str(lock.fileno())],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fileno(),),
                check=False,
            )

    def _environment(self) -> dict[str, str]:
        """Return the process's environment: the caller's own AWS settings must not reach it."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBDA_"))}
        return inherited | {
            "AUTH": "true",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "PERSIST_STATE": "1",
            "S3_PERSIST": "1",
            "STATE_DIR": str(self.home / "state"),
            "S3_DATA_DIR": str(self.home / "objects"),
            "TMPDIR": str(self.home / "tmp"),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "LAMBDA_ACCOUNT_CONCURRENCY": "0",
            "LAMBDA_WARM_TTL_SECONDS": "60",
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.5",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            "MODELWRIGHT_CONCURRENCY": str(max(2, min(4, os.cpu_count() or 2))),
            "MODELWRIGHT_INVOCATIONS": str(self.invocations),
        }

    def _await_answer(self) -> int:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            pid = self.pid()
            if pid is None:
                raise LocalStackError(f"the emulator ended at once: {_last_line(self.log)} (see {self.log})")
            if _answers(f"{self.endpoint}/_ministack/health"):
                return pid
            time.sleep(_POLL_S)
        self.stop()
        raise LocalStackError(f"the emulator did not answer in {START_LIMIT_S:.0f} s: see {self.log}")

    def _await_end(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if self.pid() is None:
                return True
            time.sleep(_POLL_S)
        return False


def _locked(file: IO[str]) -> bool:
    """Lock the file and return True, or return False when another process holds it."""
    file.seek(0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
        return


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  our own http:// URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
