"""Webhooks lead to the public internet and nowhere else, however an address is dressed up."""

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.errors import InvalidInput
from modelwright.insights.addresses import Destination, checked, refusal

PUBLIC = [
    "8.8.8.8", "198.41.0.4", "1.0.0.1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]  # fmt: skip
REFUSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.9", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::",
    "2001:db8::1", "2001:20::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
    "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "4000::1", "localhost", "", "1.2.3", "0x7f000001",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize("address", REFUSED)
def test_all_others_are_refused(address: str) -> None:
    assert address in refusal(address)


NOT_GLOBAL = ["0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "224.0.0.0/4"]
inner = st.sampled_from(NOT_GLOBAL).flatmap(
    lambda text: st.integers(0, ipaddress.IPv4Network(text).num_addresses - 1).map(
        lambda n: ipaddress.IPv4Network(text)[n]
    )
)
DRESSES: dict[str, Callable[[ipaddress.IPv4Address], str]] = {
    "plain": str,
    "mapped": lambda ip: f"::ffff:{ip}",
    "compatible": lambda ip: str(ipaddress.IPv6Address(int(ip))),
    "nat64": lambda ip: str(ipaddress.IPv6Address((0x64FF9B << 96) | int(ip))),
    "6to4": lambda ip: str(ipaddress.IPv6Address((0x2002 << 112) | (int(ip) << 80) | 1)),
    "teredo": lambda ip: str(ipaddress.IPv6Address((0x20010000 << 96) | (int(ip) ^ 0xFFFFFFFF))),
    "isatap": lambda ip: str(ipaddress.IPv6Address((0x26064700 << 96) | (0x5EFE << 32) | int(ip))),
}


@given(inner, st.sampled_from(sorted(DRESSES)))
def test_no_dress_makes_an_inner_address_public(ip: ipaddress.IPv4Address, dress: str) -> None:
    assert refusal(DRESSES[dress](ip))


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_what_python_calls_private_is_never_allowed(ip: ipaddress.IPv4Address) -> None:
    if not ip.is_global or ip.is_multicast:
        assert refusal(str(ip))


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_only_global_unicast_is_allowed_of_ipv6(ip: ipaddress.IPv6Address) -> None:
    if ip not in ipaddress.IPv6Network("2000::/3") and ip not in ipaddress.IPv6Network("64:ff9b::/96"):
        assert bool(refusal(str(ip))) != (ip.ipv4_mapped is not None and not refusal(str(ip.ipv4_mapped)))


def test_one_address_that_is_refused_refuses_the_name() -> None:
    assert checked("x.example", ["8.8.8.8", "2606:4700::1"]) == ("8.8.8.8", "2606:4700::1")
    with pytest.raises(InvalidInput, match=r"10\.0\.0\.1 is not public"):
        checked("x.example", ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(InvalidInput, match="Cannot resolve"):
        checked("x.example", [])
    assert checked("x.example", ["10.0.0.1"], private=True) == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("https://Hooks.Example.com/a/b?c=d#e", "hooks.example.com", 443, "hooks.example.com", "/a/b?c=d"),
        ("https://hooks.example.com", "hooks.example.com", 443, "hooks.example.com", "/"),
        ("https://hooks.example.com.:8443?x", "hooks.example.com", 8443, "hooks.example.com:8443", "/?x"),
        ("https://198.41.0.4:443/", "198.41.0.4", 443, "198.41.0.4", "/"),
        ("https://[2606:4700::1]:8443/x", "2606:4700::1", 8443, "[2606:4700::1]:8443", "/x"),
        ("HTTPS://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "xn--bcher-kva.example", "/"),
    ],
)
def test_a_url_leads_where_it_says(url: str, host: str, port: int, authority: str, target: str) -> None:
    found = Destination.of(url)
    assert (found.host, found.port, found.authority, found.target) == (host, port, authority, target)
    assert found.origin == f"https://{authority}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hooks.example.com/", "scheme"), ("ftp://hooks.example.com/", "scheme"), ("hooks.x", "scheme"),
        ("file:///etc/passwd", "scheme"), ("https://", "hostname"), ("https:///x", "hostname"),
        ("https://ann:secret@hooks.example.com/", "credentials"), ("https://@127.0.0.1/", "credentials"),
        ("https://hooks.example.com:22/", "port 22"), ("https://hooks.example.com:80/", "port 80"),
        ("https://hooks.example.com:0/", "port 0"), ("https://hooks.example.com:99999/", "URL"),
        ("https://hooks.example.com:x/", "URL"), ("https://[::1/", "URL"), ("https://[v1.x]/", "canonical"),
        ("https://127.1/", "canonical"), ("https://0177.0.0.1/", "canonical"), ("https://2130706433/", "canonical"),
        ("https://0x7f.0.0.1/", "canonical"), ("https://0x7f000001/", "canonical"), ("https://1.2.3.4.5/", "canonical"),
        ("https://hook%73.example.com/", "letters"), ("https://[hooks.example.com]/", "canonical|URL"),
        ("https://hooks.example.com/a b", "blanks"), ("https://hooks.example.com/\r\nX: y", "blanks"),
        ("https://hooks.example.com\\@127.0.0.1/", "blanks"), ("https://bücher.example/", "ASCII"), ("", "ASCII"),
        ("https://hooks.example.com/" + "x" * 2048, "2048"), ("https://" + "x" * 254 + "/", "hostname"),
    ],
)  # fmt: skip
def test_a_url_that_may_not_be_a_webhooks_is_refused(url: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Destination.of(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T0/KEY ", "http://hooks.slack.com/services/T0/KEY", "https:///services/KEY",
        "https://hooks.slack.com:KEY/services", "https://ann:KEY@hooks.slack.com/", "hooks.slack.com/services/KEY",
        "KEY:services", "https://hooks.slack.com%2fservices%2fKEY/", "https://[KEY]/", "https://hooks.slack.com:1/KEY",
        "https://hooks.slack.com/services/KEY" + "x" * 2048, "https://hooks.slack.com/KEY\n", "https://[::1/KEY",
    ],
)  # fmt: skip
def test_what_is_kept_of_a_refused_url_quotes_none_of_its_secrets(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Destination.of(url)
    assert "KEY" not in refused.value.logged.upper()
    assert "/services" not in str(refused.value), "nor is its path for other eyes"


def test_a_sign_that_no_url_has_is_named_by_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"character 38 is ' '"):
        Destination.of("https://hooks.slack.com/services/T0/x ")


def test_where_private_addresses_are_allowed_plain_http_and_any_port_are_too() -> None:
    found = Destination.of("http://localhost:81/x", private=True)
    assert (found.scheme, found.host, found.port, found.authority) == ("http", "localhost", 81, "localhost:81")
    for url in ("ftp://localhost/", "http://ann@localhost/", "http://127.1/"):
        with pytest.raises(InvalidInput):
            Destination.of(url, private=True)
