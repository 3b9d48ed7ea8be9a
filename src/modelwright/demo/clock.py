"""The virtual clock, told by the stock mlflow client: a header provider, mlflow's own plug for this."""

import os

from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider

from modelwright.client import AS_OF

AS_OF_VARIABLE = "MODELWRIGHT_AS_OF"


class VirtualClock(RequestHeaderProvider):
    """Sends the time in ``MODELWRIGHT_AS_OF`` with every request; does nothing where it is not set."""

    def in_context(self) -> bool:
        """Say whether there is a time to send."""
        return bool(os.environ.get(AS_OF_VARIABLE))

    def request_headers(self) -> dict[str, str]:
        """Return the header."""
        return {AS_OF: os.environ[AS_OF_VARIABLE]}
