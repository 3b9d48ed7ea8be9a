"""Tokens of identity providers: whom they let in, whom not, and what the log says of them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from support.http import Caller, handler_of, memory_wiring, payload

from governance.desk import Desk
from governance.identity import AUDIENCE, ISSUER, IdentityProvider, provider, rsa_key
from modelwright.errors import Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable
from modelwright.governance import federation
from modelwright.governance.access import Grant, Identity
from modelwright.governance.federation import Keys, authenticate, distrust, is_jwt, list_providers, trust
from modelwright.governance.people import forget_person, list_people
from modelwright.governance.tokens import COOKIE
from modelwright.runtime import acting

APPROVER = Grant(role="approver", resources="model/*")


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    trust(desk.call, provider(), tables=desk.tables, log=desk.log)
    return desk


@pytest.fixture
def idp() -> IdentityProvider:
    return IdentityProvider()


def enter(desk: Desk, token: str, keys: Keys, workspace: str = "default") -> Identity:
    return authenticate(token, workspace, tables=desk.tables, keys=keys, wall=desk.wall)


def refused(desk: Desk, token: str, keys: Keys, workspace: str = "default") -> str:
    """Return why a token is refused, which its bearer is not told."""
    with pytest.raises(Unauthenticated, match=r"^the token is not valid$") as caught:
        enter(desk, token, keys, workspace)
    assert list_people(desk.call, tables=desk.tables) == []
    return str(caught.value.__cause__)


def test_claims_become_grants(desk: Desk, idp: IdentityProvider) -> None:
    who = enter(desk, idp.token(), idp.keys)
    assert who.grants == (APPROVER, Grant(role="reader"))
    assert enter(desk, idp.token(groups=["staff"]), idp.keys).grants == (Grant(role="reader"),)
    assert enter(desk, idp.token(groups=None), idp.keys).grants == ()
    assert enter(desk, idp.token(groups={"ml-approvers": 1}), idp.keys).grants == ()


@pytest.mark.parametrize(
    ("claim", "value", "said", "fits"),
    [
        ("realm_access.roles", "mlops", {"realm_access": {"roles": ["a", "mlops"]}}, True),
        ("https://x.example/roles", "mlops", {"https://x.example/roles": "mlops"}, True),
        ("sub", "repo:org/churn:ref:refs/heads/*", {"sub": "repo:org/churn:ref:refs/heads/main"}, True),
        ("sub", "repo:org/churn:*", {"sub": "repo:org/churn2:ref:refs/heads/main"}, False),
        ("sub", "a.c", {"sub": "abc"}, False),
        ("sub", "[a]", {"sub": "a"}, False),
        ("email_verified", "true", {"email_verified": True}, False),
        ("realm_access.roles", "mlops", {"realm_access": "roles"}, False),
    ],
)
def test_a_rule_reads_a_claim_or_the_path_to_one(claim: str, value: str, said: dict[str, Any], fits: bool) -> None:
    rule = federation.Rule(claim=claim, value=value, grants=(APPROVER,))
    assert rule.fits(said) is fits


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_public_keys_of_both_kinds_are_taken(desk: Desk, idp: IdentityProvider, algorithm: str) -> None:
    idp.ec_kids = ["two"]
    token = idp.token(algorithm=algorithm, kid="two" if algorithm == "ES256" else "one")
    assert enter(desk, token, idp.keys).workspace == "default"


def test_a_provider_with_one_key_need_not_name_it(desk: Desk, idp: IdentityProvider) -> None:
    assert enter(desk, idp.token(kid=None, key=rsa_key("one")), idp.keys)
    idp.rsa_kids = ["one", "two"]
    assert "2 keys" in refused_again(desk, idp.token(kid=None, key=rsa_key("one")), idp.keys)


def refused_again(desk: Desk, token: str, keys: Keys) -> str:
    with pytest.raises(Unauthenticated) as caught:
        enter(desk, token, keys)
    return str(caught.value.__cause__)


# --- attacks -----------------------------------------------------------------------------


def forged(header: dict[str, Any], claims: dict[str, Any], sign: Any = None) -> str:
    """Return a token put together by hand, which PyJWT would not make."""

    def text(part: dict[str, Any]) -> bytes:
        said = json.dumps(part, default=lambda time: int(time.timestamp())).encode()
        return base64.urlsafe_b64encode(said).rstrip(b"=")

    head = text(header) + b"." + text(claims)
    signature = base64.urlsafe_b64encode(sign(head) if sign else b"").rstrip(b"=")
    return (head + b"." + signature).decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_an_unsigned_token_is_refused(desk: Desk, idp: IdentityProvider, algorithm: str) -> None:
    assert "not trusted with" in refused(desk, forged({"alg": algorithm, "kid": "one"}, idp.claims()), idp.keys)


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_a_public_key_is_no_shared_secret(desk: Desk, idp: IdentityProvider, form: PublicFormat) -> None:
    secret = rsa_key("one").public_key().public_bytes(Encoding.PEM, form)
    token = forged(
        {"alg": "HS256", "kid": "one", "typ": "JWT"},
        idp.claims(),
        lambda head: hmac.new(secret, head, hashlib.sha256).digest(),
    )
    assert "HS256" in refused(desk, token, idp.keys)


def test_a_shared_secret_that_the_provider_publishes_is_no_key(desk: Desk, idp: IdentityProvider) -> None:
    secret = b"k" * 32
    idp.more_keys = [{"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(secret).decode(), "alg": "RS256"}]
    token = forged({"alg": "RS256", "kid": "shared"}, idp.claims(), lambda h: hmac.new(secret, h, "sha256").digest())
    assert "0 keys" in refused(desk, token, idp.keys)


def test_algorithms_of_shared_secrets_cannot_be_trusted() -> None:
    for algorithm in ("HS256", "none"):
        with pytest.raises(ValidationError, match="algorithms"):
            provider(algorithms=[algorithm])


ATTACKS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "payroll"},
    "no audience": {"aud": None},
    "an audience that holds ours": {"aud": f"{AUDIENCE}-admin"},
    "expired": {"exp": timedelta(minutes=-2)},
    "never expires": {"exp": None},
    "not yet": {"nbf": timedelta(minutes=5)},
    "made in the future": {"iat": timedelta(minutes=5)},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a huge subject": {"sub": "x" * 300},
}
"""Wrong claims; times as seen from now."""


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_token_with_wrong_claims_is_refused(desk: Desk, idp: IdentityProvider, kind: str) -> None:
    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        name: now + told if isinstance(told, timedelta) else told for name, told in ATTACKS[kind].items()
    }
    assert refused(desk, idp.token(**claims), idp.keys)


def test_a_clock_may_be_off_by_the_leeway(desk: Desk, idp: IdentityProvider) -> None:
    assert enter(desk, idp.token(exp=datetime.now(UTC) - timedelta(seconds=10)), idp.keys)


def test_another_issuers_token_is_refused_though_its_keys_are_the_same(desk: Desk) -> None:
    for issuer in ("https://evil.example.com", f"{ISSUER}/", "http://id.example.com/team", ""):
        evil = IdentityProvider(issuer)
        assert "does not trust" in refused(desk, evil.token(), evil.keys)
        assert evil.asked == []


def test_a_token_signed_by_others_is_refused(desk: Desk, idp: IdentityProvider) -> None:
    assert "Signature" in refused(desk, idp.token(key=rsa_key("evil")), idp.keys)
    idp.rsa_kids = ["one", "two"]
    assert "Signature" in refused(desk, idp.token(kid="two", key=rsa_key("one")), idp.keys)
    assert "0 keys" in refused(desk, idp.token(kid="evil"), idp.keys)


def test_one_flipped_bit_is_refused(desk: Desk, idp: IdentityProvider) -> None:
    head, claims, signature = idp.token().split(".")
    other = (
        base64.urlsafe_b64encode(
            json.dumps({**jwt.decode(f"{head}.{claims}.", options={"verify_signature": False}), "sub": "boss"}).encode()
        )
        .rstrip(b"=")
        .decode()
    )
    assert "Signature" in refused(desk, f"{head}.{other}.{signature}", idp.keys)
    assert refused(desk, f"{head}.{claims}.", idp.keys)


def test_a_key_of_another_kind_or_use_is_refused(desk: Desk, idp: IdentityProvider) -> None:
    published = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key("three").public_key(), as_dict=True)
    for more in ({"use": "enc"}, {"alg": "RS512"}):
        idp.more_keys = [{**published, **more, "kid": "three"}]
        assert "not for RS256" in refused(desk, idp.token(kid="three"), idp.keys)
    idp.more_keys, idp.ec_kids = [], ["three"]
    assert refused(desk, idp.token(kid="three", key=rsa_key("three")), idp.keys)  # RS256 over a key of curves


def test_keys_that_a_token_brings_along_are_ignored(desk: Desk, idp: IdentityProvider) -> None:
    mine = {**jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key("evil").public_key(), as_dict=True), "kid": "one"}
    brought = {"jku": "https://evil.example.com/keys", "x5u": "https://evil.example.com/x", "jwk": mine, "x5c": ["AA"]}
    token = jwt.encode(idp.claims(), rsa_key("evil"), algorithm="RS256", headers={"kid": "one", **brought})
    assert "Signature" in refused(desk, token, idp.keys)
    good = jwt.encode(idp.claims(), rsa_key("one"), algorithm="RS256", headers={"kid": "one", **brought})
    assert enter(desk, good, idp.keys)
    assert not [url for url in idp.asked if not url.startswith(ISSUER)]


def test_an_extension_that_must_be_understood_is_refused(desk: Desk, idp: IdentityProvider) -> None:
    token = jwt.encode(idp.claims(), rsa_key("one"), algorithm="RS256", headers={"kid": "one", "crit": ["exp"]})
    assert refused(desk, token, idp.keys)


@pytest.mark.parametrize(
    "token",
    [
        "", "eyJ", "eyJ..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJ.!.x", "eyJ" + "x" * 9000 + ".e30.x",
        "mw.default.eyJ.x", "eyJhbGciOiJSUzI1NiJ9.bm8ganNvbg.x", "eyJhbGciOiJSUzI1NiJ9.W10.x", "eyJ\n.e30.x",
    ],
    ids=lambda token: token[:40],
)  # fmt: skip
def test_what_is_no_token_lets_nobody_in_and_asks_nobody(desk: Desk, idp: IdentityProvider, token: str) -> None:
    wiring = memory_wiring(tables=desk.tables)
    wiring.keys = idp.keys
    assert handler_of("authorize", wiring)({"headers": {"authorization": f"Bearer {token}"}}) == {"isAuthorized": False}
    assert idp.asked == []


def test_an_issuer_of_half_a_letter_is_nobodys(desk: Desk, idp: IdentityProvider) -> None:
    """Whoever is nobody may send anything, and is told the same."""
    parts = ('{"alg":"RS256"}', '{"iss":"\\ud800"}')
    header, claims = (base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    assert "does not trust its issuer" in refused(desk, f"{header}.{claims}.AAAA", idp.keys)


def test_our_own_tokens_are_not_taken_for_others() -> None:
    assert not is_jwt("mw.default.0123456789abcdef.secret")
    assert is_jwt(IdentityProvider().token())


# --- the issuer's keys -------------------------------------------------------------------


def test_keys_are_fetched_once_and_again_after_ten_minutes(desk: Desk, idp: IdentityProvider) -> None:
    keys = idp.keys
    for _ in range(3):
        enter(desk, idp.token(), keys)
    assert len(idp.asked) == 2
    idp.now = 600
    enter(desk, idp.token(), keys)
    assert len(idp.asked) == 4


def test_an_unknown_key_is_asked_for_once_a_minute_at_most(desk: Desk, idp: IdentityProvider) -> None:
    keys = idp.keys
    enter(desk, idp.token(), keys)
    idp.rsa_kids = ["new"]
    for idp.now in (1.0, 30.0, 59.0):
        assert "0 keys" in refused_again(desk, idp.token(kid="new"), keys)
    assert len(idp.asked) == 2
    idp.now = 60
    assert enter(desk, idp.token(kid="new"), keys)
    for number in range(50):
        refused_again(desk, idp.token(kid=f"guess-{number}", key=rsa_key("one")), keys)
    assert len(idp.asked) == 4


def test_a_key_that_was_withdrawn_is_good_no_more_after_ten_minutes(desk: Desk, idp: IdentityProvider) -> None:
    keys = idp.keys
    enter(desk, idp.token(), keys)
    idp.rsa_kids, idp.now = ["new"], 601
    assert "0 keys" in refused_again(desk, idp.token(), keys)


def test_a_provider_that_is_down_is_asked_once_a_minute_and_its_keys_last_a_day(
    desk: Desk, idp: IdentityProvider
) -> None:
    idp.up, keys = False, idp.keys
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be had"):
            enter(desk, idp.token(), keys)
    assert len(idp.asked) == 1
    idp.up, idp.now = True, 60
    assert enter(desk, idp.token(), keys)
    idp.up, idp.now = False, 80_000
    assert enter(desk, idp.token(), keys)
    idp.now = 90_000
    with pytest.raises(Unavailable):
        enter(desk, idp.token(), keys)


@pytest.mark.parametrize(
    "told",
    [
        {"jwks_uri": "http://id.example.com/team/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"issuer": "https://evil.example.com"},
        {"issuer": f"{ISSUER}/"},
    ],
    ids=str,
)
def test_a_discovery_document_that_leads_elsewhere_is_not_followed(
    desk: Desk, idp: IdentityProvider, told: dict[str, Any]
) -> None:
    idp.told = told
    with pytest.raises(Unavailable):
        enter(desk, idp.token(), idp.keys)
    assert len(idp.asked) == 1


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_discovery_document_is_no_fault_of_ours(desk: Desk, said: bytes) -> None:
    with pytest.raises(Unavailable):
        enter(desk, IdentityProvider().token(), Keys(lambda _: said))


# --- trust -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example.com", "https://", "https://a:b@c.example", "https://x.example?y=1", "https://x#y", "ftp://x",
     "x", "https://x:port", "https://[", "https://" + "x" * 300],
)  # fmt: skip
def test_an_issuer_that_is_no_plain_https_address_is_refused(issuer: str) -> None:
    with pytest.raises(ValidationError, match="issuer"):
        provider(issuer=issuer)


def test_a_provider_is_trusted_by_one_workspace_and_not_by_others(desk: Desk, idp: IdentityProvider) -> None:
    assert "workspace other does not trust" in refused(desk, idp.token(), idp.keys, "other")
    assert "does not trust" in refused(desk, idp.token(), idp.keys, "default#PERSON")
    assert idp.asked == []


def test_two_workspaces_may_trust_one_provider_each_in_its_own_way(desk: Desk, idp: IdentityProvider) -> None:
    other = Desk(desk.tables)
    rules = [{"claim": "sub", "value": "*", "grants": [{"role": "service"}]}]
    call = acting(Identity(actor="root", workspace="other", grants=(Grant(role="admin"),)))
    trust(call, provider(rules=rules), tables=other.tables, log=other.log)
    here, there = (enter(desk, idp.token(), idp.keys, workspace) for workspace in ("default", "other"))
    assert here.grants == (APPROVER, Grant(role="reader"))
    assert there.grants == (Grant(role="service"),)
    assert here.actor != there.actor


def test_who_is_distrusted_is_not_let_in_any_more(desk: Desk, idp: IdentityProvider) -> None:
    keys = idp.keys
    enter(desk, idp.token(), keys)
    (known,) = list_providers(desk.call, tables=desk.tables)
    distrust(desk.call, known["id"], tables=desk.tables, log=desk.log)
    assert "does not trust" in refused_again(desk, idp.token(), keys)
    with pytest.raises(NotFound):
        distrust(desk.call, known["id"], tables=desk.tables, log=desk.log)
    changes = [item.envelope.data for item in desk.log.read("WS#default#ACCESS#tokens")]
    assert [change["change"] for change in changes] == ["trusted", "distrusted"]
    assert changes[0]["grants"] == ["allow approver on model/*", "allow reader on *"]


def test_nobody_lets_others_in_to_more_than_they_hold() -> None:
    desk = Desk()
    call = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="admin", resources="model/a*"),)))
    with pytest.raises(Forbidden):
        trust(call, provider(), tables=desk.tables, log=desk.log)
    deny = Grant(role="reader", resources="model/secret", effect="deny")
    call = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="admin"), deny)))
    trust(call, provider(), tables=desk.tables, log=desk.log)
    assert deny in enter(desk, IdentityProvider().token(), IdentityProvider().keys).grants


def test_ones_own_denies_go_with_every_rule_though_rules_give_the_same() -> None:
    desk = Desk()
    deny = Grant(role="admin", resources="model/secret", effect="deny")
    call = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="admin"), deny)))
    rules = tuple(federation.Rule(claim="sub", value=value, grants=(Grant(role="admin"),)) for value in ("a*", "b*"))
    trust(call, provider().model_copy(update={"rules": rules}), tables=desk.tables, log=desk.log)
    (kept,) = list_providers(desk.call, tables=desk.tables)
    assert [deny.model_dump() in rule["grants"] for rule in kept["rules"]] == [True, True]
    full = (
        federation.Rule(claim="sub", value="*", grants=tuple(Grant(role="admin", resources=str(n)) for n in range(10))),
    )
    with pytest.raises(InvalidInput, match="at most 10 grants"):
        trust(call, provider().model_copy(update={"rules": full}), tables=desk.tables, log=desk.log)


def test_an_administrator_of_some_resources_replaces_no_provider_that_gives_more(desk: Desk) -> None:
    """Else they could say by which claim its people are told apart, and come as somebody else."""
    call = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="admin", resources="model/a*"),)))
    narrow = federation.Rule(claim="sub", value="*", grants=(Grant(role="reader", resources="model/ants"),))
    theirs = provider().model_copy(update={"rules": (narrow,), "actor_claim": "nickname"})
    with pytest.raises(Forbidden):
        trust(call, theirs, tables=desk.tables, log=desk.log)
    other = theirs.model_copy(update={"issuer": "https://other.example"})
    assert trust(call, other, tables=desk.tables, log=desk.log) == other.id


@pytest.mark.parametrize(("value", "said", "fits"), [
    ("a*c", "a?c", True), ("a?c", "abc", False), ("a?c", "a?c", True), ("[ab]", "a", False), ("[ab]", "[ab]", True),
    ("*a" * 60, "a" * 4000 + "b", False),
])  # fmt: skip
def test_a_star_is_the_only_wildcard_of_a_rule_and_many_take_no_time(value: str, said: str, *, fits: bool) -> None:
    rule = federation.Rule(claim="sub", value=value, grants=(APPROVER,))
    assert rule.fits({"sub": said}) is fits


# --- who it is ---------------------------------------------------------------------------


def test_the_log_names_a_pseudonym_that_stays_the_same(desk: Desk, idp: IdentityProvider) -> None:
    first, again = (enter(desk, idp.token(), idp.keys).actor for _ in range(2))
    assert first == again
    assert first.startswith("oidc-")
    assert enter(desk, idp.token(sub="user-2"), idp.keys).actor != first


def test_a_claim_of_ones_choice_tells_people_apart(idp: IdentityProvider) -> None:
    desk = Desk()
    trust(desk.call, provider(actor_claim="email"), tables=desk.tables, log=desk.log)
    one, two = (enter(desk, idp.token(sub=sub, email="ann@example.org"), idp.keys).actor for sub in "ab")
    assert one == two


def test_who_is_forgotten_is_nowhere_and_comes_back_as_somebody_new(desk: Desk, idp: IdentityProvider) -> None:
    actor = enter(desk, idp.token(sub="ann@example.org"), idp.keys).actor
    (person,) = list_people(desk.call, tables=desk.tables)
    assert (person["id"], person["subject"]) == (actor, "ann@example.org")
    forget_person(desk.call, actor, tables=desk.tables, log=desk.log)
    assert "ann@example.org" not in repr(desk.tables._items)
    assert hashlib.sha256(f"{ISSUER}\nann@example.org".encode()).hexdigest() not in repr(desk.tables._items)
    with pytest.raises(NotFound):
        forget_person(desk.call, actor, tables=desk.tables, log=desk.log)
    assert enter(desk, idp.token(sub="ann@example.org"), idp.keys).actor != actor


def test_nothing_is_written_for_somebody_who_is_known(desk: Desk, idp: IdentityProvider) -> None:
    enter(desk, idp.token(), idp.keys)
    before = repr(desk.tables._items)
    enter(desk, idp.token(), idp.keys)
    assert repr(desk.tables._items) == before


# --- the functions -----------------------------------------------------------------------


def test_the_authorizer_says_who_came_and_to_which_workspace(desk: Desk, idp: IdentityProvider) -> None:
    wiring = memory_wiring(tables=desk.tables)
    wiring.keys = idp.keys
    authorize = handler_of("authorize", wiring)
    said = authorize({"headers": {"Authorization": f"Bearer {idp.token()}"}})
    assert said["isAuthorized"] is True
    assert said["context"]["workspace"] == "default"
    assert json.loads(said["context"]["grants"]) == [APPROVER.model_dump(), Grant(role="reader").model_dump()]
    assert authorize({"cookies": [f"{COOKIE}={idp.token()}"]})["context"] == said["context"]
    elsewhere = {"authorization": f"Bearer {idp.token()}", "X-MLFLOW-WORKSPACE": "other"}
    assert authorize({"headers": elsewhere}) == {"isAuthorized": False}


def test_an_expired_token_ends_a_session_in_the_browser(desk: Desk, idp: IdentityProvider) -> None:
    wiring = memory_wiring(tables=desk.tables)
    wiring.keys = idp.keys
    console = handler_of("console", wiring)

    def look(token: str) -> tuple[int, str]:
        answer = console({**payload("GET", "/console", signed_in=False), "cookies": [f"{COOKIE}={token}"]})
        return answer["statusCode"], answer["headers"].get("location", "")

    assert look(idp.token())[0] == 200
    assert look(idp.token(exp=datetime.now(UTC) - timedelta(minutes=2))) == (303, "/login?to=/console")


def test_providers_are_trusted_listed_and_distrusted_over_http(idp: IdentityProvider) -> None:
    wiring = memory_wiring()
    registry = Caller(handler_of("registry", wiring))
    made = registry.ok("POST", "/v1/access/providers", provider().model_dump(mode="json"))
    (known,) = registry.ok("GET", "/v1/access/providers")["providers"]
    assert (known["id"], known["issuer"]) == (made["id"], ISSUER)
    status, said = registry("POST", "/v1/access/providers", {"issuer": "http://x", "audiences": [], "rules": []})
    assert status == 400
    assert "https" in said["message"]
    registry.ok("DELETE", f"/v1/access/providers/{made['id']}")
    assert registry.ok("GET", "/v1/access/providers")["providers"] == []
