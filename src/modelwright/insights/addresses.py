"""Which addresses a webhook may be sent to: those of the public internet, and no others unless a stack says so.

Whoever may make a webhook may make this stack send requests. So that this leads to nothing that only the
stack can reach (its own host, its network, the cloud's metadata), a URL is checked by what it says, and
each address that its name resolves to by where it lies, once when the webhook is made and again before
each delivery. The sender connects to the very address that was checked.

The rules are an allow-list: IPv4 that IANA calls globally reachable, IPv6 out of 2000::/3. Out of both are
taken what lies in them and is none of a receiver's: multicast, protocol assignments, documentation,
transition mechanisms that carry an IPv4 address to who knows where (6to4, Teredo, ISATAP), and a cloud's
service that has a public address. NAT64 (RFC 6052), by which hosts without IPv4 reach it, counts as the
address that it carries, as does an IPv4-mapped one.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelwright.errors import InvalidInput

_LONGEST_URL = 2048
_LONGEST_HOST = 253
_LOWEST_FREE_PORT = 1024
_PORTS = {"https": 443, "http": 80}
_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
"""ASCII without blanks, control characters and the backslash, which parsers read in more than one way."""
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)

_HOST = re.compile(r"[a-z0-9._-]+")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)
_REFUSED: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...] = (
    (ipaddress.IPv4Network("168.63.129.16/32"), "a cloud's own service"),
    (ipaddress.IPv4Network("192.0.0.0/24"), "kept for protocols"),
    (ipaddress.IPv4Network("192.88.99.0/24"), "a relay of 6to4"),
    (ipaddress.IPv6Network("2001::/23"), "kept for protocols, such as Teredo"),
    (ipaddress.IPv6Network("2002::/16"), "6to4, which carries another address"),
    (ipaddress.IPv6Network("3fff::/20"), "documentation"),
)
"""What lies among public addresses, or what some versions of Python take for public, and why it is refused."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads.

    Attributes:
        scheme: ``https``; ``http`` only where private addresses are allowed.
        host: a name in ASCII, or an address without brackets.
        authority: what the request's ``Host`` header says.
        target: path and query.
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @property
    def origin(self) -> str:
        """The URL without path and query, which may be as secret as a password."""
        return f"{self.scheme}://{self.authority}"

    @classmethod
    def of(cls, url: str, *, private: bool = False) -> "Destination":
        """Return where a URL leads; raises ``InvalidInput`` when it may not be a webhook's.

        Args:
            url: an absolute URL.
            private: whether http, any port and any address are allowed.
        """
        _require_printable(url)
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise InvalidInput(
                f"Invalid webhook URL: {error}", logged="Invalid webhook URL: its host or port is none"
            ) from error
        allowed = ("https", "http") if private else ("https",)
        if parts.scheme not in allowed:
            told = f"Allowed schemes are: {', '.join(allowed)}."
            raise InvalidInput(
                f"Invalid webhook URL scheme: {parts.scheme!r}. {told}", logged=f"Invalid webhook URL scheme. {told}"
            )
        if not host or len(host) > _LONGEST_HOST:
            raise InvalidInput(f"Webhook URL must include a hostname, of 1 to {_LONGEST_HOST} characters")
        if "@" in parts.netloc:
            raise InvalidInput("Webhook URL must not include embedded credentials: give a secret, which signs requests")
        number = _port(parts.scheme, port, private=private)
        _canonical(host, bracketed="[" in parts.netloc)
        shown = f"[{host}]" if ":" in host else host
        authority = shown if number == _PORTS[parts.scheme] else f"{shown}:{number}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, number, authority, target)


def refusal(address: str) -> str:
    """Return why nothing may be sent to an address; empty if it may."""
    try:
        ip = _carried(ipaddress.ip_address(address))
    except ValueError:
        return f"{address} is no address"
    for network, reason in _REFUSED:
        if ip.version == network.version and ip in network:
            return f"{address} is not public: {reason}"
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _UNICAST or (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP):
        return f"{address} is not public"
    return "" if ip.is_global and not (ip.is_multicast or ip.is_reserved) else f"{address} is not public"


def checked(host: str, addresses: Sequence[str], *, private: bool = False) -> tuple[str, ...]:
    """Return the addresses of a host; raises ``InvalidInput`` unless there are some and all of them are allowed.

    One that is not makes the others suspect: whoever answers for the name chooses their order.
    """
    if not addresses:
        raise InvalidInput(f"Cannot resolve webhook URL hostname {host!r}")
    reasons = [] if private else [reason for address in addresses if (reason := refusal(address))]
    if reasons:
        raise InvalidInput(f"Webhook URL must not resolve to a non-public IP address: {host!r}: {reasons[0]}")
    return tuple(addresses)


def _carried(ip: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one stands for, else the address itself."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _port(scheme: str, port: int | None, *, private: bool) -> int:
    number = _PORTS[scheme] if port is None else port
    if number == 0 or not (private or number == _PORTS["https"] or number >= _LOWEST_FREE_PORT):
        raise InvalidInput(f"Invalid webhook URL port {number}: 443, or {_LOWEST_FREE_PORT} and above")
    return number


def _require_printable(url: str) -> None:
    """Raise ``InvalidInput`` for characters that no URL has; the path, as secret as a password, is not quoted."""
    told = f"1 to {_LONGEST_URL} characters of ASCII, without blanks or '\\'"
    if not 0 < len(url) <= _LONGEST_URL:
        raise InvalidInput(f"Invalid webhook URL of {len(url)} characters: {told}")
    place = next((place for place, sign in enumerate(url, 1) if not _PRINTABLE.fullmatch(sign)), None)
    if place is not None:
        raise InvalidInput(f"Invalid webhook URL: its character {place} is {url[place - 1]!r}: {told}")


def _canonical(host: str, *, bracketed: bool) -> None:
    """Raise ``InvalidInput`` for an address in a spelling that only some parsers understand: ``127.1``, ``0x7f.1``."""
    numeric = bracketed or _NUMERIC.fullmatch(host.rsplit(".", 1)[-1])
    try:
        if numeric:
            ipaddress.ip_address(host)
    except ValueError as error:
        wrong = "is not a canonical IP address literal"
        raise InvalidInput(f"Webhook URL host {host!r} {wrong}", logged=f"Webhook URL host {wrong}") from error
    if not (numeric or _HOST.fullmatch(host)):
        wrong = "must be of letters, digits, dots, dashes and underscores"
        raise InvalidInput(f"Webhook URL host {host!r} {wrong}", logged=f"Webhook URL host {wrong}")
