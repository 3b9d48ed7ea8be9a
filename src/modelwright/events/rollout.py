"""Events of traffic and canaries."""

from typing import Literal

from modelwright.events.envelope import Event, Value


class Route(Value):
    """A share of traffic, in percent; shadows score everything and answer nobody."""

    version: int
    role: Literal["champion", "canary", "shadow"]
    percent: int


class RoutesChanged(Event):
    """Traffic of a model is split anew."""

    model: str
    routes: tuple[Route, ...]
    reason: str


class RolloutStarted(Event):
    """A canary began."""

    rollout_id: str
    model: str
    challenger: int
    champion: int
    percent: int


class Judgement(Value):
    """Evidence of a canary so far: paired loss differences (challenger minus champion) on rows that both scored.

    Attributes:
        mean: mean difference.
        low: lower end of the one-sided anytime-valid 95 % confidence sequence.
        high: upper end of the same for the other side.
    """

    rows: int
    mean: float
    low: float
    high: float


class RolloutStepped(Event):
    """The canary got a larger share."""

    rollout_id: str
    model: str
    percent: int
    judgement: Judgement


class RolloutPromoted(Event):
    """The canary passed its last step; the registry makes it champion."""

    rollout_id: str
    model: str
    challenger: int
    champion: int
    judgement: Judgement


class RolloutRolledBack(Event):
    """The canary did harm, or was aborted; all traffic is the champion's again."""

    rollout_id: str
    model: str
    challenger: int
    champion: int
    reason: str
    judgement: Judgement
