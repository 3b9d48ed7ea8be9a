"""MLflow's own server as the other side: on SQLite, and on PostgreSQL where it is installed."""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from e2e.shell import free_port

from bench.costs import Cost, Failed

WORKERS = 4
_START_S = 120
_IDLE_S = 2
_QUICK = getattr(socket, "TCP_QUICKACK", None)


class Unavailable(Exception):
    """This side cannot be had here; says why."""


class Stock:
    """Asks a server over one kept connection, and adds up what its requests took.

    Args:
        port: where it listens.
        database: its backend store, to seed it.
        python: the interpreter that has ``mlflow``.
    """

    def __init__(self, port: int, database: str, python: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._database = database
        self._python = python
        self._used = 0.0
        self.spent = Cost()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """See ``Side``."""
        text = None if body is None else json.dumps(body)
        self._keep()
        start = time.perf_counter()
        status, raw = self._send(method, f"/api/2.0/mlflow/{path}", text)
        wall = time.perf_counter() - start
        if status != 200:
            raise Failed(f"{method} {path}: {status} {raw[:300]!r}")
        self.spent += Cost(wall_ms=wall * 1000, bytes=len(raw))
        self._used = time.monotonic()
        return json.loads(raw)

    def seed(self, experiment_id: str, runs: int) -> None:
        """Put finished runs into the database, as ``seed_stock`` describes them."""
        command = [self._python, "-m", "bench.seed_stock", self._database, experiment_id, str(runs)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])

    def _send(self, method: str, path: str, text: str | None) -> tuple[int, bytes]:
        """Send without the 44 ms that a kept connection to uvicorn waits for delayed acknowledgements."""
        self._acknowledge()
        self._connection.request(method, path, text, {"content-type": "application/json"})
        self._acknowledge()
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _keep(self) -> None:
        """Connect, also before the server closes a connection that was idle for 5 s; that is not measured."""
        if time.monotonic() - self._used > _IDLE_S:
            self._connection.close()
            self._connection.connect()
            self._set(socket.TCP_NODELAY)

    def _acknowledge(self) -> None:
        if _QUICK is not None:
            self._set(_QUICK)

    def _set(self, option: int) -> None:
        connected: socket.socket | None = self._connection.sock
        if connected is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, 1)


@contextmanager
def on_sqlite(python: str) -> Iterator[Stock]:
    """Run the server on SQLite while the block runs."""
    with _folder() as folder, _server(python, f"sqlite:///{folder}/mlflow.db", folder) as side:
        yield side


@contextmanager
def on_postgres(python: str) -> Iterator[Stock]:
    """Run the server on a PostgreSQL of its own while the block runs; raises ``Unavailable``."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        raise Unavailable("PostgreSQL is not installed (no initdb, no pg_ctl)")
    driver = "import sqlalchemy; sqlalchemy.create_engine('postgresql://')"
    if subprocess.run([python, "-c", driver], capture_output=True, check=False).returncode:
        raise Unavailable(f"{python} has no driver of PostgreSQL that its SQLAlchemy takes")
    with _folder() as folder, _postgres(folder) as database, _server(python, database, folder) as side:
        yield side


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    port, data = free_port(), folder / "data"
    user = _unprivileged(folder)
    settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    _run(["initdb", "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8"], user, folder)
    _run(["pg_ctl", "-D", str(data), "-l", str(folder / "postgres.log"), "-w", "-o", settings, "start"], user, folder)
    try:
        _run(
            ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "postgres", "-c", "create database mlflow"],
            user,
            folder,
        )
        yield f"postgresql://bench@127.0.0.1:{port}/mlflow"
    finally:
        _run(["pg_ctl", "-D", str(data), "-m", "fast", "stop"], user, folder)


def _unprivileged(folder: Path) -> Sequence[str]:
    """Return what runs a command as somebody whom PostgreSQL does not refuse; raises ``Unavailable``."""
    if os.getuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise Unavailable("PostgreSQL refuses root, and there is no setpriv")
    try:
        account = pwd.getpwnam("postgres")
    except KeyError as missing:
        raise Unavailable("PostgreSQL refuses root, and there is no account postgres") from missing
    os.chown(folder, account.pw_uid, account.pw_gid)
    return ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")


def _run(command: Sequence[str], user: Sequence[str], folder: Path) -> None:
    done = subprocess.run([*user, *command], capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {done.stderr.strip()[-300:]}")


@contextmanager
def _server(python: str, database: str, folder: Path) -> Iterator[Stock]:
    port = free_port()
    arguments = ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    arguments += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "MODELWRIGHT_"))}
    log = folder / "server.log"
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [python, "-m", "mlflow", "server", *arguments],
            env=inherited | quiet, cwd=folder, stdout=printed, stderr=printed, start_new_session=True,
        )  # fmt: skip
    try:
        _await(process, port, log)
        yield Stock(port, database, python)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            asking.request("GET", "/health")
            if asking.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            asking.close()
    raise Unavailable(f"MLflow's server does not answer: {log.read_text(errors='replace')[-300:]}")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelwright-stock-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def interpreter() -> str:
    """Return the interpreter whose MLflow is measured: this one, unless the environment names another."""
    return os.environ.get("MODELWRIGHT_BENCH_MLFLOW", sys.executable)
