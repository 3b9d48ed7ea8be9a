"""Documents over https: whose certificate nobody vouches for, who leads elsewhere or says too much is not believed."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from modelwright.adapters.https import LIMIT_BYTES, fetch
from modelwright.errors import Unavailable


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers = {
            "/good": (200, b"{}"),
            "/moved": (302, b""),
            "/large": (200, b"x" * (LIMIT_BYTES + 1)),
            "/full": (200, b"x" * LIMIT_BYTES),
        }
        status, body = answers.get(self.path.partition("?")[0], (404, b""))
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/good")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for this machine, signed by itself, and of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "certificate.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, secret


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    chain, secret = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    listening = HTTPServer(("127.0.0.1", 0), _Server)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.server_port}", chain
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture
def url(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the address of a server whose certificate this process believes."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server[1]))
    return server[0]


def test_a_document_is_fetched(url: str) -> None:
    assert fetch(f"{url}/good?x=1", private=True) == b"{}"
    assert len(fetch(f"{url}/full", private=True)) == LIMIT_BYTES


@pytest.mark.parametrize(
    ("path", "fault"), [("/moved", "302"), ("/none", "404"), ("/large", f"{LIMIT_BYTES + 1} bytes")]
)
def test_what_leads_elsewhere_is_missing_or_too_large_is_refused(url: str, path: str, fault: str) -> None:
    with pytest.raises(Unavailable, match=fault):
        fetch(url + path, private=True)


def test_a_certificate_that_nobody_vouches_for_is_not_believed(server: tuple[str, Path]) -> None:
    with pytest.raises(Unavailable, match="certificate"):
        fetch(f"{server[0]}/good", private=True)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/x", "file:///etc/passwd", "https://", "https://x:port/", "https://[", "https://127.0.0.1/a b"],
)
def test_what_is_no_https_address_is_not_asked(address: str) -> None:
    with pytest.raises(Unavailable):
        fetch(address)


def test_nobody_there_is_said_to_be_so() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 does not answer"):
        fetch("https://127.0.0.1:1/x", private=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00:ec2::254"])
def test_what_is_not_public_is_not_asked_whatever_its_name(url: str, address: str) -> None:
    asked = url.replace("127.0.0.1", "login.example")
    with pytest.raises(Unavailable, match=r"login\.example cannot be asked: .* is not public"):
        fetch(f"{asked}/good", resolver=lambda host, port: (address,))
    with pytest.raises(Unavailable, match="cannot be asked"):
        fetch(f"{url}/good")


def test_the_certificate_must_be_of_the_host_that_was_named(url: str) -> None:
    asked = url.replace("127.0.0.1", "login.example")
    with pytest.raises(Unavailable, match="certificate"):
        fetch(f"{asked}/good", private=True, resolver=lambda host, port: ("127.0.0.1",))


def test_a_name_that_leads_nowhere_is_said_to_be_so() -> None:
    with pytest.raises(Unavailable, match="it has no address"):
        fetch("https://login.example/x", resolver=lambda host, port: ())
