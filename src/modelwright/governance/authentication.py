"""Who holds a token, whichever kind it is."""

from datetime import datetime

from modelwright.governance import federation, tokens
from modelwright.governance.access import Identity
from modelwright.storage import Tables


def authenticate(token: str, workspace: str, *, tables: Tables, keys: federation.Keys, wall: datetime) -> Identity:
    """Return who holds a token: one of ours, or a JSON Web Token of a provider that ``workspace`` trusts.

    Raises:
        Unauthenticated: it is not valid; its cause says more, to nobody but the function's log.
        Unavailable: a provider's keys cannot be had.
    """
    if federation.is_jwt(token):
        return federation.authenticate(token, workspace, tables=tables, keys=keys, wall=wall)
    return tokens.authenticate(token, tables=tables, wall=wall)
