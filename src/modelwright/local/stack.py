"""The stack on a laptop, as commands use it.

::

    stack = Stack(Path.cwd())
    stack.up(port=4566, workspace="default", detach=True)
    stack.env()["MLFLOW_TRACKING_URI"]  # http://127.0.0.1:4566
    stack.down()

Everything is in ``.modelwright/`` below the folder: the emulator's state and objects, finished
packages, logs and ``stack.json`` (port, outputs, credentials; readable by its owner alone). A stack
that was taken down goes on where it was; ``reset`` forgets it.
"""

import json
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from modelwright.errors import LocalStackError
from modelwright.local import deployment, invocations
from modelwright.local.emulator import REGION, Credentials, Emulator
from modelwright.local.packaging import LocalPackages, Sources

STACK = "modelwright"
DEFAULT_PORT = 4566
FOLDER = ".modelwright"
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Interrupts too: a process that was started in the background may have inherited that they are ignored."""


@dataclass(frozen=True)
class Running:
    """A deployed stack.

    Attributes:
        url: the HTTP API's base, the AWS endpoint, and what ``MLFLOW_TRACKING_URI`` takes.
        port: the loopback port.
        workspace: the workspace that the template was given.
        outputs: the template's outputs.
        resources: physical ids by logical id.
        credentials: root credentials of the emulated account.
        extra: what bootstrap returned, such as the first access token.
        changed: whether the last ``up`` changed anything.
    """

    url: str
    port: int
    workspace: str
    outputs: Mapping[str, str]
    resources: Mapping[str, str]
    credentials: Credentials
    extra: Mapping[str, str] = field(default_factory=dict)
    changed: bool = False

    def client(self, service: str) -> Any:
        """Return a boto3 client that sees the emulator only."""
        return deployment.clients(self.url, self.credentials)(service)

    def env(self) -> dict[str, str]:
        """Return the environment of programs that use the stack: AWS', MLflow's, ``extra``."""
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            **self.extra,
        }


Bootstrap: TypeAlias = Callable[[Running], Mapping[str, str]]


class Stack:
    """The local stack of one folder.

    Args:
        workdir: the folder.
        sources: what to deploy; that of the running ``modelwright`` unless given.
    """

    def __init__(self, workdir: Path, sources: Sources | None = None) -> None:
        self.home = workdir.resolve() / FOLDER
        self._given_sources = sources

    def up(
        self,
        *,
        port: int | None = None,
        workspace: str = "default",
        detach: bool = True,
        parameters: Mapping[str, str] | None = None,
        bootstrap: Bootstrap | None = None,
        say: Callable[[str], None] = print,
    ) -> Running | None:
        """Start the stack, or bring a running one up to date.

        Args:
            port: the loopback port; by default the one it had before, else 4566.
            workspace: the template's parameter ``Workspace``.
            detach: return at once; otherwise print a line per invocation until Ctrl-C, then stop.
            parameters: further parameters of the template.
            bootstrap: called after each deploy; what it returns is added to ``env``. It finds
                what it returned before in ``extra`` and must be harmless when repeated.
            say: takes lines for people.

        Returns:
            The stack; after a foreground run, what it was, or None if it never came up.

        Raises:
            LocalStackError: the port is taken, the template is wrong, or a resource failed.
        """
        given = {"Workspace": workspace, **(parameters or {})}
        if detach:
            return self._deploy(port, given, bootstrap)
        with self._stopped_by_signals(say):
            running = self._deploy(port, given, bootstrap)
            say(f"{running.url} is ready; Ctrl-C stops it")
            self._watch(say)
        return self._saved()

    def down(self) -> bool:
        """Stop the stack, saving its state; return whether it ran."""
        emulator = self._emulator(self._saved())
        ran = emulator.pid() is not None
        emulator.stop()
        return ran

    def reset(self) -> None:
        """Stop the stack and forget its state."""
        self.down()
        shutil.rmtree(self.home, ignore_errors=True)

    def status(self) -> Running | None:
        """Return the running stack, or None. It has no outputs while its first deploy goes on."""
        saved = self._saved()
        return saved if saved is not None and self._emulator(saved).pid() is not None else None

    def env(self) -> dict[str, str]:
        """Return the environment of programs that use the running stack.

        Raises:
            LocalStackError: it does not run.
        """
        running = self.status()
        if running is None:
            raise LocalStackError("the local stack does not run: start it with `modelwright up`")
        return running.env()

    def logs(self, function: str | None = None, *, follow: bool = False) -> Iterator[str]:
        """Yield what functions printed, oldest first.

        Args:
            function: only this one.
            follow: go on as they print, for ever.

        Raises:
            LocalStackError: nothing was ever invoked here and ``follow`` is off.
        """
        path = self._emulator(self._saved()).invocations
        if not follow and not path.exists():
            raise LocalStackError(f"no function was invoked yet in {self.home.parent}")
        for invocation in invocations.read(path, follow=follow):
            if function in (None, invocation["function"]):
                yield from invocations.details(invocation)

    def _deploy(self, port: int | None, parameters: Mapping[str, str], bootstrap: Bootstrap | None) -> Running:
        sources = self._given_sources or Sources.find()
        saved = self._saved()
        emulator = self._emulator(saved, port)
        self._prepare_home()
        ran = emulator.pid() is not None
        if not ran:
            invocations.trim(emulator.invocations)
        elif saved is not None and saved.port != emulator.port:
            raise LocalStackError(f"the local stack runs on port {saved.port}: stop it with `modelwright down` first")
        emulator.start()
        if saved is None:  # the process knows these credentials: keep them even if the deploy fails
            saved = _undeployed(emulator, parameters["Workspace"])
            self._save(saved)
        deployed = deployment.deploy(
            stack=STACK,
            template=sources.template,
            packages=LocalPackages(sources, self.home / "packages"),
            parameters=parameters,
            client=deployment.clients(emulator.endpoint, emulator.credentials),
        )
        running = Running(
            url=emulator.endpoint,
            port=emulator.port,
            workspace=parameters["Workspace"],
            outputs=deployed.outputs,
            resources=deployed.resources,
            credentials=emulator.credentials,
            extra=saved.extra,
            changed=deployed.changed,
        )
        self._save(running)
        if bootstrap is not None:
            running = replace(running, extra=dict(bootstrap(running)))
            self._save(running)
        return running

    @contextmanager
    def _stopped_by_signals(self, say: Callable[[str], None]) -> Iterator[None]:
        """Stop the stack when the terminal says so (Ctrl-C, SIGTERM, or by closing)."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        before = {number: signal.signal(number, interrupt) for number in _STOPS}
        try:
            yield
        except KeyboardInterrupt:
            say("stopping, and saving what it holds")
            self.down()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self, say: Callable[[str], None]) -> None:
        path = self._emulator(self._saved()).invocations
        for invocation in invocations.read(path, follow=True, from_end=True):
            say(invocations.outcome(invocation))

    def _emulator(self, saved: Running | None, port: int | None = None) -> Emulator:
        if saved is None:
            made = Credentials(f"LOCAL{secrets.token_hex(8).upper()}", secrets.token_urlsafe(24))
            return Emulator(self.home, port or DEFAULT_PORT, made)
        return Emulator(self.home, port or saved.port, saved.credentials)

    def _prepare_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.home / ".gitignore").write_text("*\n", encoding="ascii")

    @property
    def _file(self) -> Path:
        return self.home / "stack.json"

    def _saved(self) -> Running | None:
        if not self._file.is_file():
            return None
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            return Running(**{**known, "credentials": Credentials(**known["credentials"])})
        except (ValueError, KeyError, TypeError) as broken:
            raise LocalStackError(f"{self._file} is damaged: remove {self.home} and start again") from broken

    def _save(self, running: Running) -> None:
        draft = self._file.with_suffix(".draft")
        with open(draft, "w", encoding="utf-8", opener=_owner_only) as stream:
            json.dump(asdict(running), stream, indent=2)
        draft.replace(self._file)


def _undeployed(emulator: Emulator, workspace: str) -> Running:
    return Running(emulator.endpoint, emulator.port, workspace, {}, {}, emulator.credentials)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
