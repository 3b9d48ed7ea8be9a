"""MLflow's own web interface: the static build inside the installed ``mlflow`` package, served as it is.

Nothing of mlflow is imported (that takes a second); its folder is found by its import spec. The
build asks for its files below ``static-files/`` and for the API beside itself, all relative, and
routes by the fragment. So one page, at ``/``, and one folder are all that a server needs; the door
of the local stack (``modelwright.local.server``) and CloudFront's bucket hold the same objects:

===================  ====================================
object               is
===================  ====================================
``index.html``       the page, at ``/``
``static-files/...`` every file of the build, by its path
===================  ====================================
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from mimetypes import MimeTypes
from pathlib import Path

PAGE = "index.html"
FILES = "static-files/"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.plot.ly; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data: blob: https://*.tile.openstreetmap.org{storage}; media-src 'self' data: blob:{storage}; "
    "connect-src 'self' data: blob:{storage}; frame-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""What the page may load and ask: itself, and ``{storage}``, where signed URLs of artifacts lead.

It shows HTML that somebody logged in a sandboxed frame without an origin. Such a frame inherits this
policy, hence the inline scripts, and plotly's host, where ``mlflow.log_figure`` has the script of its
figures from. OpenStreetMap's tiles are under GeoJSON files.
"""

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY.format(storage=" http://127.0.0.1:*"),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
}
"""What the door sends with each file. Signed URLs are of 127.0.0.1, which is another origin than ``localhost``."""

_BUILD = Path("server", "js", "build")
_KEPT = "public, max-age=31536000, immutable"
_ASKED_AGAIN = "no-cache"
_HASHED = re.compile(r"\.[0-9a-f]{8,20}\.")
_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True)
class File:
    """A file of the build as a server gives it out.

    Attributes:
        path: where it is on this machine.
        content_type: by its name's ending, on every system the same.
        cache_control: names with a hash are kept for ever, the others are asked for again.
    """

    path: Path
    content_type: str
    cache_control: str


@dataclass(frozen=True)
class Build:
    """The static build of one mlflow.

    Attributes:
        files: by object name, as in the table above. What is not in it is not served.
    """

    files: Mapping[str, File]

    @classmethod
    def of(cls, folder: Path) -> "Build":
        """Return the build in a folder."""
        found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {FILES + name: _file(path) for name, path in found.items()}
        return cls({**files, PAGE: _file(folder / PAGE)})


def installed() -> Build | None:
    """Return the build of the installed mlflow; None without one (``mlflow-skinny`` has none)."""
    spec = find_spec("mlflow")
    places = [] if spec is None else spec.submodule_search_locations or []
    folders = (Path(place) / _BUILD for place in places)
    return next((Build.of(folder) for folder in folders if (folder / PAGE).is_file()), None)


def _file(path: Path) -> File:
    return File(path, content_type(path.name), _KEPT if _HASHED.search(path.name) else _ASKED_AGAIN)


def content_type(name: str) -> str:
    """Return the content type of a file by its name, whatever this machine's own table says."""
    known = _TYPES.get(Path(name).suffix.lower()) or MimeTypes().guess_type(name)[0] or _UNKNOWN
    return f"{known}; charset=utf-8" if known.startswith(_TEXT) else known


_TYPES: Mapping[str, str] = {
    ".cjs": "text/javascript",
    ".eot": "application/vnd.ms-fontobject",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
"""What Python's own table does not know, or knows by version."""
