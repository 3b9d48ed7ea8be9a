"""A stack as either end of a way: its manifests and signed URLs, and where versions arrive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from modelwright.errors import InvalidInput, Refused, Unavailable
from modelwright.log import canonical
from modelwright.registry.manifests import FILES, MANIFEST, Manifest, folder_of, source_of
from modelwright.transfer import bucket
from modelwright.transfer.ours import Ours

_OPEN = ("judging", "waiting")


class Reference(NamedTuple):
    """A version as people call it: ``churn/3`` or ``churn@champion``."""

    name: str
    version: str

    @classmethod
    def read(cls, text: str) -> "Reference":
        """Parse; raises ``InvalidInput``."""
        name, at, alias = text.partition("@")
        if not at:
            name, _, alias = text.rpartition("/")
        if not name or not alias or (not at and not alias.isdigit()):
            raise InvalidInput(f"{text!r} names no version: say NAME@ALIAS or NAME/VERSION")
        return cls(name, f"@{alias}" if at else alias)

    @property
    def alias(self) -> str:
        """The alias, if it is called by one."""
        return self.version.removeprefix("@") if self.version.startswith("@") else ""

    def __str__(self) -> str:
        return self.name + (self.version if self.alias else f"/{self.version}")


class StackSource:
    """A version at a stack.

    Args:
        stack: the stack.
        reference: which version.
        target: where it is carried, for the source's log.
    """

    def __init__(self, stack: Ours, reference: Reference, target: str = "") -> None:
        self._stack, self._reference, self._target = stack, reference, target
        self._number = reference.version

    def manifest(self) -> Manifest:
        """See ``carrying.Source``."""
        name, version = self._reference
        path = f"/v1/models/{quote(name, safe='')}/versions/{quote(version, safe='@')}/manifest"
        key = {"Idempotency-Key": uuid4().hex}
        answer = asked_until(
            "manifest", lambda: self._stack.ask("GET", path, query={"target": self._target}, headers=key)
        )
        found = Manifest.read(canonical(answer["manifest"]))
        if found.digest != answer["digest"]:
            raise Refused(f"the manifest of {self._reference} changed on its way from {self._stack.name}")
        self._number = str(found.origin.version)
        return found

    def fetch(self, path: str, folder: Path) -> Path:
        """See ``carrying.Source``."""
        asked = {"name": self._reference.name, "version": self._number, "path": path, "presigned": "true"}
        answer = self._stack.ask("GET", "/model-versions/get-artifact", query=asked)
        file = folder / "file"
        bucket.download(answer["url"], answer.get("headers") or {}, int(answer["file_size"]), file)
        return file


class Arrivals:
    """Where versions arrive at a stack, under a name.

    Args:
        stack: the stack.
        name: the model's name there.
    """

    def __init__(self, stack: Ours, name: str) -> None:
        self._stack, self._name = stack, name
        self._models = f"/v1/models/{quote(name, safe='')}"

    def announce(self, manifest: Manifest) -> tuple[int, dict[str, int]]:
        """Return the version that came of it before (0: none), and the sizes of the files that lie there already."""
        answer = self._stack.ask("PUT", f"{self._models}/arrivals/{manifest.content}", body={})
        return int(answer.get("version", 0)), {str(path): int(size) for path, size in answer.get("files", {}).items()}

    def put(self, manifest: Manifest, path: str, file: Path) -> None:
        """Upload one of the files, or replace it."""
        self._stack.put(source_of(folder_of(self._name, manifest.content)), path, file)

    def make(self, manifest: Manifest, file: Path) -> int:
        """Upload the manifest, which lies in a file, and return the version that came of it all; raises ``Refused``."""
        uri = source_of(folder_of(self._name, manifest.content)).removesuffix(f"/{FILES}")
        self._stack.put(uri, MANIFEST, file)
        body = {"content": manifest.content, "digest": manifest.digest}
        return int(
            asked_until("version", lambda: self._stack.ask("POST", f"{self._models}/arrivals", body=body))["version"]
        )

    def request(self, version: int, alias: str, reason: str) -> dict[str, Any]:
        """Ask for an alias and return the request as it stands; one that waits already is that one.

        Raises:
            Refused: with every reason.
        """
        body = {"version": version, "alias": alias, "reason": reason}
        path = f"{self._models}/transitions"
        try:
            answer = self._stack.ask("POST", path, body=body, headers={"Idempotency-Key": uuid4().hex})
        except Refused:
            for open_one in self._stack.ask("GET", path)["transitions"]:
                if (open_one["version"], open_one["alias"]) == (version, alias) and open_one["state"] in _OPEN:
                    return dict(open_one)
            raise
        return dict(answer["transition"])


def asked_until(word: str, ask: Callable[[], Any]) -> Any:
    """Ask until an answer has a word; before that each answer tells how many bytes are measured, and it gets on.

    Raises:
        Unavailable: it does not get on.
    """
    before = -1
    while word not in (answer := ask()):
        done = int(answer["measured_bytes"])
        if done <= before:
            raise Unavailable(f"{done} of {answer['total_bytes']} bytes are measured, and it gets no further")
        before = done
    return answer
