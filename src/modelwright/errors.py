"""Everything that can go wrong and that a caller can act on, as one tree.

Domain code and adapters raise these. Only ``runtime`` knows HTTP status codes and
MLflow's error codes; a message names the thing and its state.
"""


class ModelwrightError(Exception):
    """Root of the tree; its text is meant to be read by a person."""

    @property
    def logged(self) -> str:
        """What logs and events say of it, who keep for good what they are told: the text, if it quotes no data."""
        return str(self)


class InvalidInput(ModelwrightError):
    """The request, file or configuration is wrong; sending it again will not help.

    Args:
        message: for the caller; may quote what the caller sent.
        logged: the same without a word of the data, where the message quotes any.
    """

    def __init__(self, message: str, *, logged: str = "") -> None:
        super().__init__(message)
        self._logged = logged

    @property
    def logged(self) -> str:
        """See ``ModelwrightError.logged``."""
        return self._logged or str(self)


class NotFound(ModelwrightError):
    """The named thing does not exist, or its caller may not know that it does."""


class Gone(NotFound):
    """The named thing was erased; the text names what stands in its place, if anything does."""


class EndpointNotFound(NotFound):
    """No such path; the protocol group is not served here."""


class AlreadyExists(ModelwrightError):
    """The name is taken."""


class Conflict(ModelwrightError):
    """The thing is in a state that does not allow this, or it changed meanwhile."""


class Refused(Conflict):
    """A policy (gate, veto, budget, approval) said no; the text lists every reason."""


class Forbidden(ModelwrightError):
    """The caller is known and may not do this.

    Attributes:
        action: what was asked for, if a rule about actions said no.
        resource: of what.
        actor: who asked, if the one who refused knows.
        workspace: where; empty: nowhere that the actor may be.
    """

    def __init__(
        self, message: str, *, action: str = "", resource: str = "", actor: str = "", workspace: str = ""
    ) -> None:
        super().__init__(message)
        self.action = action
        self.resource = resource
        self.actor = actor
        self.workspace = workspace


class Unauthenticated(ModelwrightError):
    """The caller is not known: no token, or one that is not valid (any more)."""


class TooLarge(ModelwrightError):
    """The payload exceeds a limit of the platform; the text says where large things go."""


class Unavailable(ModelwrightError):
    """A dependency did not answer in time; trying again is right."""


class NotImplementedHere(ModelwrightError):
    """The protocol knows this call, this server does not serve it."""


class ConditionFailed(Conflict):
    """A conditional write was refused.

    Attributes:
        failed: positions, in the sequence of writes, whose condition did not hold.
    """

    def __init__(self, message: str, failed: tuple[int, ...]) -> None:
        super().__init__(message)
        self.failed = failed


class AlreadyHandled(ModelwrightError):
    """This delivery of an event was handled before; nothing was written."""


class ChainBroken(ModelwrightError):
    """A stream of the log was altered.

    Attributes:
        stream: the stream.
        sequence: the first sequence number that is not what it should be.
    """

    def __init__(self, stream: str, sequence: int, reason: str) -> None:
        super().__init__(f"{stream} is broken at {sequence}: {reason}")
        self.stream = stream
        self.sequence = sequence


class PluginError(ModelwrightError):
    """A plugin is unknown, does not load, or breaks its contract."""


class LocalStackError(ModelwrightError):
    """The stack on this machine cannot do what was asked; one line that names the thing and what to do."""
