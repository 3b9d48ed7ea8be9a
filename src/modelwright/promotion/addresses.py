"""Names of a team's stacks, as ``modelwright.toml`` has them.

    [stacks.prod]
    endpoint = "https://abc.execute-api.eu-central-1.amazonaws.com"
    token_env = "PROD_TOKEN"

A token itself never stands in the file: ``token_env`` names the variable of the environment that holds it.
"""

import os
import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from modelwright.errors import InvalidInput
from modelwright.project import Declared
from modelwright.protocol import faults

_FILE = "modelwright.toml"


class Address(Declared):
    """Where a stack is, and which variable holds a token of it."""

    endpoint: str = Field(pattern=r"^https?://\S+$")
    token_env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    def token(self) -> str:
        """Return the token; raises ``InvalidInput`` if the variable is empty."""
        if token := os.environ.get(self.token_env, ""):
            return token
        raise InvalidInput(f"{self.endpoint} needs a token: put it into the variable {self.token_env}")


class _Stacks(Declared):
    stacks: dict[str, Address] = Field(default_factory=dict)


def address(name: str, folder: Path) -> Address:
    """Return the address of a stack by its name in a folder's ``modelwright.toml``.

    Raises:
        InvalidInput: there is no such file or stack, or what is said of it is wrong.
    """
    path = folder / _FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        known = _Stacks.model_validate({"stacks": document.get("stacks", {})}).stacks
    except FileNotFoundError as error:
        raise InvalidInput(f"{folder} holds no {_FILE}, which would say where {name} is: give --folder") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise InvalidInput(f"{path}: {faults(error)}") from error
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise InvalidInput(f"{path} has no [stacks.{name}] with endpoint and token_env: it has {listed}")
    return known[name]
