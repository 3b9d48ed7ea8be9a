"""A version arrives at a stack of real tables and buckets: multipart uploads, ranges, listings and removals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cloud import Cloud, cloud
from support.http import Caller, ServedBlobs, handler_of, serve
from support.mlflow_desk import API, Desk
from transfer.carried import FILES, flipped, made, source, stack

from modelwright.errors import Refused
from modelwright.promotion.carrying import Source, carry
from modelwright.promotion.stack import Arrivals
from modelwright.registry.manifests import Manifest
from modelwright.transfer.ours import Ours

pytestmark = pytest.mark.e2e


class Flipped:
    """A source that checks nothing and flips a byte of every file."""

    def __init__(self, real: Source) -> None:
        self._real = real

    def manifest(self) -> Manifest:
        """See ``Source``."""
        return self._real.manifest()

    def fetch(self, path: str, folder: Path) -> Path:
        """See ``Source``."""
        file = self._real.fetch(path, folder)
        file.write_bytes(flipped(file.read_bytes()))
        return file


@pytest.fixture(scope="module")
def emulator() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


@pytest.fixture
def there(emulator: Cloud) -> Iterator[Ours]:
    functions = [handler_of(name, emulator.wiring()) for name in ("artifacts", "registry")]
    with serve(functions, ServedBlobs()) as url:
        yield Ours(url, "mw.default.0.x", pauses_s=())


def objects(emulator: Cloud) -> dict[str, int]:
    listed = emulator.client("s3").list_objects_v2(Bucket="test-artifacts").get("Contents", [])
    return {line["Key"]: line["Size"] for line in listed if "/arrivals/" in line["Key"]}


def test_a_version_arrives_whole_and_what_differs_is_removed(emulator: Cloud, there: Ours, tmp_path: Path) -> None:
    here = Desk()
    made(here)
    with stack(here) as left:
        manifest = source(left).manifest()
        arrivals = Arrivals(there, "churn")
        arrivals.announce(manifest)
        for file in manifest.files:
            local = Flipped(source_after(left)).fetch(file.path, tmp_path)
            arrivals.put(manifest, file.path, local)
        (tmp_path / "manifest").write_bytes(manifest.text)
        with pytest.raises(Refused, match=r"model\.pkl has the digest"):
            arrivals.make(manifest, tmp_path / "manifest")
        assert objects(emulator) == {}
        carried = carry(source(left), arrivals)
        assert (carried.version, carried.sent) == (1, len(FILES))
        assert carry(source(left), arrivals).known
    sizes = {key.partition("/files/")[2]: size for key, size in objects(emulator).items() if "/files/" in key}
    assert sizes == {path: len(body) for path, body in FILES.items()}
    registry = Caller(handler_of("registry", emulator.wiring()))
    version: Any = registry.ok("GET", f"{API}/model-versions/get?name=churn&version=1")["model_version"]
    assert version["source"].startswith("mlflow-artifacts:/arrivals/")
    again = registry.ok("GET", "/v1/models/churn/versions/1/manifest")["manifest"]
    assert again["files"] == [file.model_dump() for file in manifest.files]


def source_after(left: Ours) -> Source:
    found = source(left)
    found.manifest()
    return found
