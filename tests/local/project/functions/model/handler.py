"""An image function; locally its libraries come from the environment."""

from typing import Any

import pydantic


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": pydantic.__name__}
