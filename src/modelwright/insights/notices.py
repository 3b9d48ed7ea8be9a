"""What is told of incidents, who tells it, and the channels of a workspace.

A *channel* is a notifier (a plugin of ``modelwright.notifiers``) with what it needs to know, and which tiers and
subjects it takes. Tiers are the severities of incidents, by consequence:

========  ===============================================================================================
critical  wrong answers are or may be given, or no data comes through: somebody is woken
warning   it gets worse, and nobody is harmed yet: somebody looks at it today
info      a fact without an end, for the record
========  ===============================================================================================

=========  ==========================  =====================  ==========================
entity     pk                          sk                     access pattern
=========  ==========================  =====================  ==========================
channel    ``WS#<ws>#CHANNELS``        ``<name>``             get; list all
=========  ==========================  =====================  ==========================

A stack with an alert topic has the channel ``sns`` without anybody making it. Options that hold secrets (a Slack
URL holds one) are kept as webhooks' secrets are, and shown to nobody.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, ModelwrightError, NotFound, PluginError
from modelwright.insights.causes import Severity, channel_subject
from modelwright.insights.incidents import TABLE, clear
from modelwright.log import Log
from modelwright.protocol import Message
from modelwright.storage import Absent, Delete, Exists, Is, Key, Put, Tables, every

TIERS: tuple[Severity, ...] = ("critical", "warning", "info")
TOPIC = "sns"
"""The channel, and the notifier, of the stack's own topic."""
_MOST = 20
"""Channels of a workspace: all are told within one invocation."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about one incident, or about several that belong together.

    Attributes:
        state: ``opened``, ``closed``, or ``test`` where nothing happened.
        at: domain time.
    """

    workspace: str
    incident_id: str
    severity: Severity
    subject: str
    text: str
    at: datetime
    state: Literal["opened", "closed", "test"] = "opened"

    @property
    def title(self) -> str:
        """One line."""
        said = {"opened": self.severity, "closed": "closed", "test": "test"}[self.state]
        return f"[{said}] {self.subject}"


class Notifier(Protocol):
    """A plugin that sends notices somewhere; made with the function's variables and what sends requests."""

    @property
    def options(self) -> Mapping[str, bool]:
        """Names of what a channel must (true) or may (false) say."""
        ...

    @property
    def secrets(self) -> frozenset[str]:
        """Which of them are shown to nobody."""
        ...

    def check(self, options: Mapping[str, str]) -> None:
        """Raise ``InvalidInput`` for values that can never work."""
        ...

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """Send once; raises ``Unavailable`` with the reason when it was not taken."""
        ...


Notifiers = Callable[[str], Notifier]
"""Returns a notifier by name; raises ``PluginError``."""


class Channel(BaseModel):
    """Where to tell of which incidents.

    Attributes:
        options: what the notifier needs to know.
        tiers: the severities that it takes.
        subjects: beginnings of subjects that it takes; none: all.
        v: counts versions (0: not stored).
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    name: str
    notifier: str
    options: dict[str, SecretStr] = Field(default_factory=dict, exclude=True)
    tiers: tuple[Severity, ...] = ("critical", "warning")
    subjects: tuple[str, ...] = ()
    v: int = Field(default=0, exclude=True)

    def takes(self, severity: Severity, subject: str) -> bool:
        """Say whether it is told of such an incident."""
        return severity in self.tiers and (not self.subjects or subject.startswith(self.subjects))

    @property
    def told(self) -> dict[str, str]:
        """The options in plain text."""
        return {name: value.get_secret_value() for name, value in self.options.items()}


class SaveChannel(Message):
    """``POST /v1/alerts/channels``: makes a channel or replaces the one of its name."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    notifier: str = Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")
    options: dict[str, str] = Field(default_factory=dict, repr=False)
    tiers: tuple[Severity, ...] = Field(default=("critical", "warning"), min_length=1)
    subjects: tuple[str, ...] = Field(default=(), max_length=50)


class OfChannel(Message):
    """Names a channel."""

    channel: str


def channels_of(tables: Tables, workspace: str, *, topic: bool = False) -> tuple[Channel, ...]:
    """Return the channels of a workspace; with a topic also that of the stack, unless one of its name replaces it."""
    found = {item["sk"]: _channel(item) for item in every(tables, TABLE, _partition(workspace))}
    own = {TOPIC: Channel(name=TOPIC, notifier=TOPIC)} if topic else {}
    return tuple({**own, **found}.values())


def list_channels(call: Call, *, tables: Tables, notifiers: Notifiers, topic: bool = False) -> list[dict[str, object]]:
    """Return the channels as people may see them."""
    call.authorise("alerts:read", "alert/*")
    return [_shown(channel, notifiers) for channel in channels_of(tables, call.workspace, topic=topic)]


def save_channel(call: Call, message: SaveChannel, *, tables: Tables, notifiers: Notifiers) -> dict[str, object]:
    """Make or replace a channel.

    Raises:
        PluginError: there is no such notifier.
        InvalidInput: an option is missing, unknown or cannot work, or there are too many channels.
    """
    call.authorise("alerts:write", "alert/*")
    with _plugin(message.notifier):
        notifier = notifiers(message.notifier)
    known = ", ".join(notifier.options) or "none"
    if unknown := sorted(set(message.options) - set(notifier.options)):
        # a URL in the wrong place is as secret as one in the right one
        told = f"the notifier {message.notifier} has no such option: it has {known}"
        raise InvalidInput(
            f"the notifier {message.notifier} has no option {', '.join(unknown)}: it has {known}", logged=told
        )
    if missing := [name for name, must in notifier.options.items() if must and not message.options.get(name)]:
        raise InvalidInput(f"the notifier {message.notifier} needs the option {', '.join(missing)}")
    with _plugin(message.notifier):
        notifier.check(message.options)
    others = [channel for channel in channels_of(tables, call.workspace) if channel.name != message.name]
    if len(others) >= _MOST:
        raise InvalidInput(f"a workspace has at most {_MOST} channels: remove one of {others[0].name}, ...")
    item = tables.get(TABLE, Key(_partition(call.workspace), message.name))
    channel = Channel(
        name=message.name, notifier=message.notifier, tiers=message.tiers, subjects=message.subjects,
        options={name: SecretStr(value) for name, value in message.options.items()},
        v=int(item["v"]) + 1 if item else 1,
    )  # fmt: skip
    condition = Is("v", item["v"]) if item else Absent()
    stored = {"document": channel.model_dump_json(), "options": channel.told, "v": channel.v}
    tables.write([Put(TABLE, {"pk": _partition(call.workspace), "sk": channel.name, **stored}, condition)])
    return _shown(channel, notifiers)


def remove_channel(call: Call, message: OfChannel, *, tables: Tables, log: Log) -> None:
    """Remove a channel; what waits for it is not sent any more.

    Raises:
        NotFound: there is none of that name.
    """
    call.authorise("alerts:write", "alert/*")
    _get(tables, call.workspace, message.channel)
    tables.write([Delete(TABLE, Key(_partition(call.workspace), message.channel), Exists())])
    note_taken(call, message.channel, "was removed", tables=tables, log=log)


def try_channel(
    call: Call, message: OfChannel, *, tables: Tables, log: Log, notifiers: Notifiers, topic: bool = False
) -> dict[str, str]:
    """Send a test notice.

    Raises:
        NotFound: there is no such channel.
        Unavailable: it was not taken, and why.
        PluginError: its notifier is not installed or has a fault.
    """
    call.authorise("alerts:write", "alert/*")
    own = message.channel == TOPIC and topic
    channel = next((c for c in channels_of(tables, call.workspace, topic=own) if c.name == message.channel), None)
    channel = channel or _get(tables, call.workspace, message.channel)
    text = f"{call.actor} tries the channel {channel.name}: nothing happened"
    tell(notifiers, channel, Notice(call.workspace, "test", "info", f"channel/{channel.name}", text, call.now, "test"))
    note_taken(call, channel.name, "took its test", tables=tables, log=log)
    return {"sent": channel.name}


def tell(notifiers: Notifiers, channel: Channel, notice: Notice) -> None:
    """Send a notice to a channel, once.

    Raises:
        Unavailable: it was not taken, and why.
        PluginError: the notifier is not installed, or has a fault; a team's may raise anything.
    """
    with _plugin(channel.notifier):
        notifiers(channel.notifier).send(notice, channel.told)


def note_taken(call: Call, channel: str, what: str, *, tables: Tables, log: Log) -> None:
    """Close the incident about a channel that took nothing, if there is one: it did, or is no more."""
    # who lost a race leaves it to the next notice that the channel takes
    with suppress(ConditionFailed):
        clear(call, channel_subject(channel), f"the channel {channel} {what}", tables=tables, log=log)


# --- private -----------------------------------------------------------------------------


def _partition(workspace: str) -> str:
    return f"WS#{workspace}#CHANNELS"


def _channel(item: Mapping[str, object]) -> Channel:
    made = Channel.model_validate_json(str(item["document"]))
    told = item.get("options")
    options = {str(k): SecretStr(str(v)) for k, v in told.items()} if isinstance(told, Mapping) else {}
    return made.model_copy(update={"options": options, "v": int(str(item["v"]))})


def _get(tables: Tables, workspace: str, name: str) -> Channel:
    item = tables.get(TABLE, Key(_partition(workspace), name))
    if item is None:
        there = ", ".join(channel.name for channel in channels_of(tables, workspace)) or "none"
        raise NotFound(f"there is no channel {name}: there are {there}")
    return _channel(item)


def _shown(channel: Channel, notifiers: Notifiers) -> dict[str, object]:
    shown = channel.model_dump(mode="json")
    try:
        with _plugin(channel.notifier):
            secret = notifiers(channel.notifier).secrets
    except PluginError as error:
        # what of its options is secret, nobody can tell any more
        secret, shown = frozenset(channel.told), {**shown, "fault": str(error)}
    options = {name: "(kept secret)" if name in secret else value for name, value in channel.told.items()}
    return {**shown, "options": options}


@contextmanager
def _plugin(name: str) -> Iterator[None]:
    """Say of whatever a notifier raises that it failed and where, not its text, which may quote a channel's secrets."""
    try:
        yield
    except ModelwrightError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{PurePath(frame.filename).name}, line {frame.lineno}"
        raise PluginError(f"the notifier {name} failed with {type(error).__name__} ({where})") from error
