"""Single files of model versions, for browsers: who may read the version may read its files."""

from modelwright.artifacts import Signed, checked_path, key_of_path, signed
from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.registry.messages import OfVersion
from modelwright.registry.store import RegistryStore
from modelwright.registry.versions import load
from modelwright.storage import Blobs, Tables


class GetVersionArtifact(OfVersion):
    """``/model-versions/get-artifact``."""

    path: str
    presigned: str = ""


def get(call: Call, message: GetVersionArtifact, *, tables: Tables, blobs: Blobs) -> Signed:
    """Return a URL of a version's file; raises ``NotFound``, or ``InvalidInput`` where files are not in our bucket."""
    if not (path := checked_path(message.path)):
        raise InvalidInput("Missing value for required parameter 'path'.")
    _, version = load(call, message, RegistryStore(tables, call))
    if not version.artifact_key:
        raise InvalidInput(
            f"The files of {version.source} do not lie in this platform's bucket: fetch them with your own credentials."
        )
    folder = version.artifact_key.removeprefix(f"{call.workspace}/").rstrip("/")
    return signed(key_of_path(call.workspace, f"{folder}/{path}"), blobs)
