"""What a version is, in a form that is carried to another stack and checked there: canonical JSON.

Two digests belong to a manifest. ``digest`` is of all of it, and is what both logs name. ``content`` is of what never
changes, that is, of where the version came from and of its files; by it the target knows a version that
it has already, although at the source its description or its history went on meanwhile.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from modelwright.artifacts import SCHEME, checked_path
from modelwright.errors import InvalidInput, TooLarge
from modelwright.log import GENESIS, canonical, digest_of
from modelwright.protocol import check_depth, faults

MANIFEST = "manifest.json"
FILES = "files"
MODEL_FILE = "model.pkl"
MANIFEST_BYTES = 4_000_000
"""What an answer over HTTP surely holds; a manifest that is larger is refused on either side."""
MOST_FILES = 10_000

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A frozen part of a manifest; a word that is not known is an error, because nobody would check it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Origin(Part):
    """Which version of which stack it is."""

    stack: str = Field(pattern=r"^[0-9A-Za-z-]{1,64}$")
    workspace: str = Field(pattern=r"^[^/#\s]{1,128}$")
    model: str = Field(min_length=1, max_length=256)
    version: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.stack}/{self.workspace}/{self.model}/{self.version}"


class File(Part):
    """A file of the version.

    Attributes:
        path: below the version's folder.
        digest: see ``registry.measuring``: SHA-256 of what it holds.
    """

    path: str
    size: int = Field(ge=0)
    digest: Digest


class StoredItem(Part):
    """An item of the log as it is stored: what its hash is of, and the hash."""

    pk: str
    sk: str
    chain_version: int
    previous: str
    hash: str
    envelope: str


class Proof(Part):
    """A piece of the model's stream in the source's log, in order and without a gap.

    Attributes:
        items: the whole stream, or the first items since the version was made, where it is long.
        heads: sequence number and hash of the last of them, in the form of an anchored root.
    """

    items: tuple[StoredItem, ...]
    heads: dict[str, tuple[int, str]]


class Manifest(Part):
    """A version.

    Attributes:
        facts: how it came about, in the registry's own words; see ``bundles.CARRIED``.
        artifact_digest: SHA-256 of ``model.pkl`` that the source's registry has known since the version was made.
        card: sections of its model card that people wrote.
    """

    format: Literal[1] = 1
    origin: Origin
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    artifact_digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    files: tuple[File, ...] = Field(default=(), max_length=MOST_FILES)
    card: dict[str, str] = Field(default_factory=dict)
    proof: Proof

    @property
    def text(self) -> bytes:
        """The manifest's bytes."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's bytes."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def content(self) -> str:
        """SHA-256 of the origin and the files."""
        said = {"origin": self.origin.model_dump(), "files": [file.model_dump() for file in self.files]}
        return hashlib.sha256(canonical(said)).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Return the manifest that bytes are; whether it is true to itself is for ``flaws``.

        Raises:
            InvalidInput: they are none, or not in canonical form.
            TooLarge: it has more than ``MANIFEST_BYTES``.
        """
        if len(text) > MANIFEST_BYTES:
            raise TooLarge(f"the manifest has {len(text)} bytes, more than {MANIFEST_BYTES}")
        try:
            said = json.loads(text)
            check_depth(text, said)
            found = cls.model_validate(said)
        except ValidationError as error:
            raise InvalidInput(f"the manifest is not one of ours: {faults(error)}") from error
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"the manifest is no JSON: {error}") from error
        if found.text != text:
            raise InvalidInput("the manifest is not in canonical form: it was changed after it was made")
        return found

    def flaws(self) -> list[str]:
        """Return what shows, from the manifest alone, that it is not as its source made it."""
        paths = [file.path for file in self.files]
        found = [f"the path {path[:100]!r} is not allowed" for path in paths if not _allowed(path)]
        found += [f"the path {b[:100]!r} is there twice, or out of order" for a, b in pairwise(paths) if b <= a]
        digests = {file.path: file.digest for file in self.files}
        pickled = digests.get(MODEL_FILE, "")
        registered = [pickled] if pickled else list(digests.values())  # ``MLmodel`` may call it otherwise
        if self.artifact_digest and self.artifact_digest not in registered:
            found.append(f"{MODEL_FILE} is {pickled or 'missing'}, and {self.artifact_digest} was registered")
        return found + self._broken()

    def _broken(self) -> list[str]:
        """Return what is wrong with the proof."""
        if (fault := chain_fault(self.proof)) is not None:
            return [f"the log excerpt is broken: {fault}"]
        if not self.proof.items[0].pk.startswith(f"WS#{self.origin.workspace}#MODEL#"):
            return [f"the log excerpt is of {self.proof.items[0].pk[:100]}, not of a model of {self.origin.workspace}"]
        births = [said for item in self.proof.items if (said := birth(item, self.origin.version)) is not None]
        if len(births) != 1:
            return [f"the log excerpt does not tell of {self.origin.model} v{self.origin.version}"]
        if births[0].get("artifact_digest", "") != self.artifact_digest:
            return [f"the log knows {births[0].get('artifact_digest', '')}, the manifest says {self.artifact_digest}"]
        return []


def birth(item: StoredItem, version: int) -> Mapping[str, Any] | None:
    """Return what an item says of the making of a version, if that is what it tells of."""
    try:
        envelope = json.loads(item.envelope)
        said: Mapping[str, Any] = envelope["data"]
        mine = envelope["type"] == "ModelVersionCreated" and said["version"] == version
    except (ValueError, TypeError, KeyError):
        return None
    return said if mine else None


def chain_fault(proof: Proof) -> str | None:
    """Return where a piece of the log is not what was hashed, or None."""
    if not proof.items:
        return "it is empty"
    stream, first = proof.items[0].pk, proof.items[0]
    expected, previous = _number(first.sk), first.previous
    if expected == 1 and previous != GENESIS:
        return "its first item follows another"
    for item in proof.items:
        if item.pk != stream or item.sk != f"{expected:012d}":
            return f"{item.sk[:20]} stands where {expected} should"
        if item.previous != previous:
            return f"{expected} does not follow the item before it"
        if digest_of(item.model_dump()) != item.hash:
            return f"{expected} is not what was hashed"
        expected, previous = expected + 1, item.hash
    if proof.heads != {stream: (expected - 1, previous)}:
        return f"its head is not {expected - 1}"
    return None


def folder_of(name: str, content: str) -> str:
    """Return the path, below a workspace, at which a version arrives that is to be called so; content by digest."""
    return f"arrivals/{hashlib.sha256(name.encode()).hexdigest()[:12]}-{content}"


def source_of(folder: str) -> str:
    """Return the source of a version whose files arrived in a folder."""
    return f"{SCHEME}:/{folder}/{FILES}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _allowed(path: str) -> bool:
    try:
        return checked_path(path) == path != ""
    except InvalidInput:
        return False
