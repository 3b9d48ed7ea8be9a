"""Signing in by an OpenID Connect provider's JSON Web Tokens.

=========  ===========================  =======================  ==========================================
entity     pk                           sk                       access pattern
=========  ===========================  =======================  ==========================================
provider   ``WS#<ws>#PROVIDER``         SHA-256 of the issuer    get by what a token says; list
=========  ===========================  =======================  ==========================================

A workspace trusts an issuer for an audience, and maps claims to grants. A token names its issuer and the request its
workspace (``X-MLFLOW-WORKSPACE``, else the stack's own), so that no workspace learns, or takes away, whom another one
trusts. Nothing of a token is believed before its signature is checked, but where to look for the provider: not its
``alg`` (which must be one that the provider is trusted with, of public keys all), nor its ``jku``, ``jwk``, ``x5u`` or
``x5c`` (keys come from the issuer's own discovery document alone). PyJWT checks it; it is imported when the first
such token comes.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from time import monotonic
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from modelwright.context import Call
from modelwright.errors import InvalidInput, ModelwrightError, NotFound, Unauthenticated, Unavailable
from modelwright.governance.access import Grant, Identity, authorised_to_grant, changed, checked_workspace, passed_on
from modelwright.governance.people import pseudonym_of
from modelwright.log import Log
from modelwright.storage import Anything, Delete, Item, Key, Put, Tables, every

Fetch = Callable[[str], bytes]
"""Returns what an https address answers, without following redirects; raises ``Unavailable``."""
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures of public keys. Neither ``none`` nor those of a shared secret, for which a public key would be taken."""

DISCOVERY = "/.well-known/openid-configuration"
KEYS_FOR_S, STALE_FOR_S, AGAIN_AFTER_S = 600, 86_400, 60
"""Keys are fetched anew after ten minutes, used for a day if that fails, and asked for once a minute at most."""
_LONGEST_TOKEN = 8192
_LONGEST_CLAIM = 255
_MOST_GRANTS = 10
_JWT = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*", re.ASCII)
_PUBLIC = frozenset({"RSA", "EC", "OKP"})
_INVALID = "the token is not valid"
_Text = Annotated[str, Field(min_length=1, max_length=_LONGEST_CLAIM)]


class Rule(BaseModel):
    """Grants for who has a claim.

    Attributes:
        claim: its name, or a path to it (``realm_access.roles``).
        value: what it is, or what its list has; ``*`` stands for any text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    claim: _Text
    value: _Text
    grants: tuple[Grant, ...] = Field(min_length=1, max_length=_MOST_GRANTS)

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Say whether claims satisfy the rule."""
        pattern = re.sub(r"[?[]", r"[\g<0>]", self.value)
        said = _claim(claims, self.claim)
        values = said if isinstance(said, list) else [said]
        return any(isinstance(each, str) and fnmatchcase(each, pattern) for each in values)


class Provider(BaseModel):
    """An identity provider that a workspace trusts.

    Attributes:
        issuer: its address, as its tokens have it in ``iss``.
        audiences: whom a token must be for, one of these.
        rules: what its people may do; who fits none may do nothing.
        actor_claim: which claim tells people apart.
        algorithms: with which it may sign.
        leeway_s: how far its clock may be off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    issuer: _Text
    audiences: tuple[_Text, ...] = Field(min_length=1, max_length=10)
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=20)
    actor_claim: _Text = "sub"
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    leeway_s: int = Field(default=30, ge=0, le=120)

    @field_validator("issuer")
    @classmethod
    def _https(cls, issuer: str) -> str:
        if not is_https(issuer):
            raise ValueError("an issuer is an https:// address without query, fragment or password")
        return issuer

    @property
    def id(self) -> str:
        """What the log calls it."""
        return _digest(self.issuer)[:16]


def is_https(address: str) -> bool:
    """Say whether an address is a plain one of https."""
    try:
        parts = urlsplit(address)
        plain = not (parts.query or parts.fragment or "@" in address) and parts.port != 0
        return parts.scheme == "https" and bool(parts.hostname) and plain
    except ValueError:
        return False


def trust(call: Call, provider: Provider, *, tables: Tables, log: Log) -> str:
    """Let an identity provider's people in, as its rules say; an issuer that is trusted already is replaced.

    Returns:
        The provider's id.

    Raises:
        Forbidden: the caller may not, or gives more than they hold, or would replace what gives more than they do.
    """
    key = _key(checked_workspace(call.workspace), provider.issuer)
    before = tables.get("governance", key)
    wanted = [grant for rule in provider.rules for grant in rule.grants]
    held = [grant for rule in (_read(before).rules if before else ()) for grant in rule.grants]
    authorised_to_grant(call, f"provider/{provider.id}", [*wanted, *held])
    authorised_to_grant(call, f"provider/{provider.id}", wanted)
    rules = tuple(r.model_copy(update={"grants": passed_on(call, r.grants)}) for r in provider.rules)
    if any(len(rule.grants) > _MOST_GRANTS for rule in rules):
        raise InvalidInput(f"a rule has at most {_MOST_GRANTS} grants, your own denies among them: make two of it")
    given = tuple(dict.fromkeys(grant for rule in rules for grant in rule.grants))
    kept = provider.model_copy(update={"rules": rules}).model_dump_json()
    item = {**key._asdict(), "provider": kept, "trusted": call.now.isoformat()}
    log.commit(call, [changed(call, provider.id, "trusted", given)], [Put("governance", item, Anything())])
    return provider.id


def distrust(call: Call, provider_id: str, *, tables: Tables, log: Log) -> None:
    """Let a provider's people in no more, at once; raises ``NotFound``."""
    call.authorise("access:write", f"provider/{provider_id}")
    known = every(tables, "governance", f"WS#{call.workspace}#PROVIDER")
    item = next((each for each in known if _read(each).id == provider_id), None)
    if item is None:
        raise NotFound(f"there is no provider {provider_id}")
    gone = Delete("governance", Key(item["pk"], item["sk"]))
    log.commit(call, [changed(call, provider_id, "distrusted")], [gone])


def list_providers(call: Call, *, tables: Tables) -> list[dict[str, Any]]:
    """Return whom the workspace trusts."""
    call.authorise("access:read", "provider/*")
    items = every(tables, "governance", f"WS#{call.workspace}#PROVIDER")
    found = [(_read(item), item["trusted"]) for item in items]
    return [{"id": each.id, **each.model_dump(mode="json"), "trusted": since} for each, since in found]


def is_jwt(token: str) -> bool:
    """Say whether a token looks like a JSON Web Token, and not like one of ours."""
    return len(token) <= _LONGEST_TOKEN and _JWT.fullmatch(token) is not None


def authenticate(token: str, workspace: str, *, tables: Tables, keys: "Keys", wall: datetime) -> Identity:
    """Return whom an identity provider vouches for.

    Raises:
        Unauthenticated: the token is not valid, of which the cause says more, or nobody trusts its issuer here.
        Unavailable: the issuer's keys cannot be had.
    """
    import jwt

    try:
        provider = _trusted(jwt.decode(token, options={"verify_signature": False}), workspace, tables)
        claims = _verified(token, provider, keys)
    except jwt.PyJWTError as error:
        raise Unauthenticated(_INVALID) from error
    subject = _claim(claims, provider.actor_claim)
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_CLAIM:
        raise Unauthenticated(_INVALID) from InvalidInput(f"it has no text as {provider.actor_claim}")
    granted = tuple(dict.fromkeys(grant for rule in provider.rules if rule.fits(claims) for grant in rule.grants))
    actor = pseudonym_of(workspace, provider.issuer, subject, granted, tables=tables, wall=wall)
    return Identity(actor=actor, workspace=workspace, grants=granted)


def _trusted(unproven: Mapping[str, Any], workspace: str, tables: Tables) -> Provider:
    issuer = unproven.get("iss")
    if not isinstance(issuer, str) or not 0 < len(workspace) <= _LONGEST_CLAIM:
        raise Unauthenticated(_INVALID) from InvalidInput("it names no issuer")
    item = tables.get("governance", _key(workspace, issuer))
    if item is None:
        raise Unauthenticated(_INVALID) from NotFound(f"workspace {workspace} does not trust its issuer")
    return _read(item)


def _verified(token: str, provider: Provider, keys: "Keys") -> dict[str, Any]:
    import jwt

    header = jwt.get_unverified_header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in provider.algorithms or "crit" in header:
        raise jwt.InvalidAlgorithmError(f"it is signed by {algorithm!r}, which {provider.issuer} is not trusted with")
    key = keys.of(provider.issuer, kid if isinstance(kid, str) else "")
    if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        raise jwt.InvalidKeyError(f"the key {kid!r} is not for {algorithm}")
    claims: dict[str, Any] = jwt.decode(
        token,
        jwt.PyJWK.from_dict(dict(key), algorithm),
        algorithms=[algorithm],
        audience=list(provider.audiences),
        issuer=provider.issuer,
        leeway=provider.leeway_s,
        options={"require": ["exp", "iss", "aud"]},
    )
    return claims


_PublicKey = Mapping[str, Any]


@dataclass
class _Known:
    """An issuer's keys, when they were fetched, and when that was tried last."""

    keys: tuple[_PublicKey, ...] = ()
    fetched: float | None = None
    tried: float | None = None

    def named(self, kid: str) -> list[_PublicKey]:
        """Return the keys of an id; without one, all."""
        return [key for key in self.keys if not kid or key.get("kid") == kid]


class Keys:
    """The public keys of issuers, kept while the process lives.

    Args:
        fetch: how to ask.
        clock: seconds that only grow.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def of(self, issuer: str, kid: str) -> _PublicKey:
        """Return a key as the issuer published it; without a ``kid``, the only one there is.

        Raises:
            Unauthenticated: the issuer has no such key.
            Unavailable: the issuer's keys cannot be had.
        """
        known = self._known.setdefault(issuer, _Known())
        if self._older(known.fetched, KEYS_FOR_S) or not known.named(kid):
            self._refresh(issuer, known)
        if self._older(known.fetched, STALE_FOR_S):
            raise Unavailable(f"the keys of {issuer} cannot be had, try again in a minute")
        found = known.named(kid)
        if len(found) != 1:
            raise Unauthenticated(_INVALID) from NotFound(f"{issuer} has {len(found)} keys called {kid[:80]!r}")
        return found[0]

    def _older(self, then: float | None, seconds: float) -> bool:
        return then is None or self._clock() - then >= seconds

    def _refresh(self, issuer: str, known: _Known) -> None:
        """Fetch an issuer's keys, unless that was tried within the minute; what fails leaves the old ones."""
        if not self._older(known.tried, AGAIN_AFTER_S):
            return
        known.tried = self._clock()
        try:
            known.keys = self._asked(issuer)
        except ModelwrightError:
            return
        known.fetched = known.tried

    def _asked(self, issuer: str) -> tuple[_PublicKey, ...]:
        told = _object(self._fetch(issuer.rstrip("/") + DISCOVERY))
        address = told.get("jwks_uri")
        if told.get("issuer") != issuer or not isinstance(address, str) or not address.startswith("https://"):
            raise Unavailable(f"the discovery document of {issuer} is another's, or its keys are not at https")
        found = _object(self._fetch(address)).get("keys")
        listed = found if isinstance(found, list) else []
        return tuple(key for key in listed if isinstance(key, dict) and key.get("kty") in _PUBLIC)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unavailable("an identity provider did not answer in JSON") from error
    return found if isinstance(found, dict) else {}


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name (which may have dots), else by the path that its name is."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _key(workspace: str, issuer: str) -> Key:
    return Key(f"WS#{workspace}#PROVIDER", _digest(issuer))


def _read(item: Item) -> Provider:
    return Provider.model_validate_json(item["provider"])


def _digest(text: str) -> str:
    """Return the SHA-256 of a text, of whatever letters a token that nobody vouches for may have."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
