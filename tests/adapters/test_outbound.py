"""Requests to the outside, against real servers on this machine."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelwright.adapters.outbound import PinnedHttp, resolve
from modelwright.errors import InvalidInput

HOST = "hooks.example.test"
BODY, HEADERS = b'{"a": 1}', {"Content-Type": "application/json", "X-MLflow-Delivery-Id": "d"}


class Endpoint(BaseHTTPRequestHandler):
    """Keeps what it is told, and answers by the path."""

    protocol_version = "HTTP/1.1"
    got: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if self.path == "/moved":
            self._answer(302, b"", location="/elsewhere")
        elif self.path == "/large":
            self._answer(200, b"x" * 1_000_000)
        elif self.path == "/zipped":
            self._answer(200, b"\x1f\x8b\x00", **{"content-encoding": "gzip"})
        elif self.path == "/nonsense":
            self.wfile.write(b"HTTP/1.1 yes\r\n\r\n")
            self.close_connection = True
        elif self.path == "/gone":
            self.close_connection = True
        else:
            self._answer(int(self.path[1:4]) if self.path[1:4].isdigit() else 200, b"thanks")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # who asked has read enough

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


class Server(ThreadingHTTPServer):
    """A server to which a client that hangs up is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent."""


@contextmanager
def served(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[tuple[str, dict[str, str], bytes]]]]:
    got: list[tuple[str, dict[str, str], bytes]] = []
    server = Server(("127.0.0.1", 0), type("Handler", (Endpoint,), {"got": got}))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=True)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server.server_port, got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    return lambda host, port: addresses


def here(**more: Any) -> PinnedHttp:
    return PinnedHttp(**{"private": True, "resolver": at("127.0.0.1"), **more})


def test_a_request_arrives_as_it_was_given() -> None:
    with served() as (port, got):
        reply = here().post(f"http://{HOST}:{port}/a?b=c", BODY, HEADERS)
    assert (reply.status, reply.text, reply.fault, reply.accepted) == (200, "thanks", "", True)
    ((path, headers, body),) = got
    assert (path, body, headers["host"]) == ("/a?b=c", BODY, f"{HOST}:{port}")
    assert headers["x-mlflow-delivery-id"] == "d"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [201, 204, 299, 400, 404, 410, 429, 500, 503])
def test_only_what_begins_with_a_two_is_acceptance(status: int) -> None:
    with served() as (port, _):
        reply = here().post(f"http://{HOST}:{port}/{status}", BODY, HEADERS)
    assert (reply.status, reply.accepted) == (status, 200 <= status < 300)


def test_a_redirect_is_not_followed() -> None:
    with served() as (port, got):
        reply = here().post(f"http://{HOST}:{port}/moved", BODY, HEADERS)
    assert (reply.status, reply.accepted) == (302, False)
    assert [path for path, _, _ in got] == ["/moved"]


def test_only_the_beginning_of_an_answer_is_read_and_nothing_is_unzipped() -> None:
    with served() as (port, _):
        assert here().post(f"http://{HOST}:{port}/large", BODY, HEADERS).text == "x" * 2048
        assert "\x1f" in here().post(f"http://{HOST}:{port}/zipped", BODY, HEADERS).text


@pytest.mark.parametrize("path", ["nonsense", "gone"])
def test_an_answer_that_is_none_is_a_fault(path: str) -> None:
    with served() as (port, _):
        reply = here().post(f"http://{HOST}:{port}/{path}", BODY, HEADERS)
    assert (reply.status, reply.accepted) == (None, False)
    assert reply.fault


def test_nobody_there_is_a_fault_and_the_next_address_is_tried() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reply = here().post(f"http://{HOST}:{port}/", BODY, HEADERS)
    assert "refused" in reply.fault
    assert "Connection(" not in reply.fault
    with served() as (port, got):
        reply = here(resolver=at("127.0.0.2", "127.0.0.1")).post(f"http://{HOST}:{port}/", BODY, HEADERS)
        assert (reply.status, len(got)) == (200, 1)


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served() as (port, got):
        assert here().post(f"http://{HOST}:{port}/", BODY, HEADERS).status == 200
        assert len(got) == 1


# --- slow ones ---------------------------------------------------------------------------


@contextmanager
def dripping(first: bytes) -> Iterator[int]:
    """Serve who says something at once, and then one byte now and then, for as long as somebody listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(first)
                while not over.wait(0.02):
                    connection.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("first", "status"),
    [(b"", None), (b"HTTP/1.1 200 OK\r\nX: ", 200), (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", 200)],
)
def test_who_drips_is_cut_off(first: bytes, status: int | None) -> None:
    with dripping(first) as port:
        began = time.monotonic()
        reply = here(total_s=0.3).post(f"http://{HOST}:{port}/", BODY, HEADERS)
        assert time.monotonic() - began < 2
    assert reply.status == status
    assert reply.accepted == (status is not None)


def test_who_drips_through_the_handshake_is_cut_off() -> None:
    with dripping(b"\x16\x03\x03\x40\x00") as port:
        began = time.monotonic()
        reply = here(total_s=0.3).post(f"https://{HOST}:{port}/", BODY, HEADERS)
        assert time.monotonic() - began < 2
    assert reply.fault


# --- TLS ---------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server with a certificate of a name, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    if name[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(private + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=public.decode())


@pytest.mark.parametrize("name", [HOST, "127.0.0.1"])
def test_tls_is_with_the_host_of_the_url_at_the_address_that_was_checked(tmp_path: Path, name: str) -> None:
    server, client = certificate(tmp_path, name)
    asked: list[str | None] = []
    server.sni_callback = lambda _, told, __: asked.append(told)
    with served(server) as (port, got):
        reply = here(context=client).post(f"https://{name}:{port}/x", BODY, HEADERS)
    assert (reply.status, reply.fault) == (200, "")
    assert got[0][1]["host"] == f"{name}:{port}"
    assert asked == [HOST if name == HOST else None]


def test_another_hosts_certificate_is_refused(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "other.example.test")
    with served(server) as (port, got):
        reply = here(context=client).post(f"https://{HOST}:{port}/", BODY, HEADERS)
    assert (reply.status, got) == (None, [])
    assert "match" in reply.fault.lower()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, HOST)
    with served(server) as (port, got):
        reply = here().post(f"https://{HOST}:{port}/", BODY, HEADERS)
    assert (reply.status, got) == (None, [])
    assert "CERTIFICATE_VERIFY_FAILED" in reply.fault


# --- where nothing may be sent -----------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "10.1.2.3"])
def test_a_name_that_leads_inside_is_refused_when_asked_and_when_sent(address: str) -> None:
    outbound = PinnedHttp(resolver=at(address))
    with pytest.raises(InvalidInput, match="non-public"):
        outbound.check(f"https://{HOST}/")
    reply = outbound.post(f"https://{HOST}/", BODY, HEADERS)
    assert (reply.status, "non-public" in reply.fault) == (None, True)


def test_a_name_that_leads_elsewhere_by_the_time_of_sending_gets_nothing(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, HOST)
    answers = iter([["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
    with served(server) as (port, got):
        outbound = PinnedHttp(resolver=lambda *_: next(answers), context=client)
        outbound.check(f"https://{HOST}:{port}/")
        for _ in range(2):
            assert "non-public" in outbound.post(f"https://{HOST}:{port}/", BODY, HEADERS).fault
    assert got == []
    assert next(answers, None) is None, "the name was looked up once for each request"


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Cannot resolve"):
        PinnedHttp().check("https://nobody.invalid/")
    assert "Cannot resolve" in PinnedHttp(private=True).post("http://nobody.invalid/", BODY, HEADERS).fault


def test_this_machine_resolves_names_to_each_address_once() -> None:
    found = resolve("localhost", 443)
    assert "127.0.0.1" in found
    assert len(set(found)) == len(found)
    assert resolve("127.0.0.1", 443) == ("127.0.0.1",)
    with pytest.raises(InvalidInput, match="non-public"):
        PinnedHttp().check("https://localhost/")
