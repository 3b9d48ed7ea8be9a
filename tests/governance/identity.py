"""An identity provider in this process: keys that it signs with, and what it answers at its addresses."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from modelwright.errors import Unavailable
from modelwright.governance.federation import DISCOVERY, Keys, Provider

ISSUER = "https://id.example.com/team"
AUDIENCE = "modelwright"


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return a key pair of that name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    """Return a key pair of that name."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class IdentityProvider:
    """What an issuer publishes, who asked for it, and tokens of it."""

    issuer: str = ISSUER
    rsa_kids: list[str] = field(default_factory=lambda: ["one"])
    ec_kids: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    more_keys: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    up: bool = True
    now: float = 0.0

    def fetch(self, url: str) -> bytes:
        """Answer as its server would."""
        self.asked.append(url)
        if not self.up:
            raise Unavailable("id.example.com does not answer")
        if url == self.issuer + DISCOVERY:
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.told}).encode()
        assert url == f"{self.issuer}/keys", url
        keys = [{**RSAAlgorithm.to_jwk(rsa_key(k).public_key(), as_dict=True), "kid": k} for k in self.rsa_kids]
        keys += [{**ECAlgorithm.to_jwk(ec_key(k).public_key(), as_dict=True), "kid": k} for k in self.ec_kids]
        return json.dumps({"keys": [*keys, *self.more_keys]}).encode()

    @property
    def keys(self) -> Keys:
        """Its keys, with nothing cached."""
        return Keys(self.fetch, lambda: self.now)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a token that is good for an hour; None takes one away."""
        now = datetime.now(UTC)
        claims = {
            "iss": self.issuer, "aud": AUDIENCE, "sub": "user-1", "groups": ["ml-approvers", "staff"],
            "iat": now, "exp": now + timedelta(hours=1), **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, key: Any = None, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
        """Return a signed token."""
        signer = key or (ec_key(kid or "") if algorithm.startswith("ES") else rsa_key(kid or ""))
        headers = {"kid": kid} if kid is not None else {}
        return jwt.encode(self.claims(**claims), signer, algorithm=algorithm, headers=headers)


def provider(**changes: Any) -> Provider:
    """Return how a workspace trusts it: approvers of all models, contributors of one's own."""
    rules = [
        {"claim": "groups", "value": "ml-approvers", "grants": [{"role": "approver", "resources": "model/*"}]},
        {"claim": "groups", "value": "staff", "grants": [{"role": "reader"}]},
    ]
    return Provider.model_validate({"issuer": ISSUER, "audiences": [AUDIENCE], "rules": rules, **changes})
