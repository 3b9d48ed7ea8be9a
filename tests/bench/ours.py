"""Our side: the tracking function's handler, called as Lambda calls it, over boto3 and an emulator."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

from support.cloud import Cloud, KeptMeter, Wire, rounds
from support.http import handler_of, payload

from bench.costs import Cost, Failed
from modelwright.runtime import Function
from modelwright.wiring import Wiring

_TRANSACTION = "dynamodb.TransactWriteItems"


class Ours:
    """Asks the handler, and adds up what its requests cost.

    Args:
        function: the handler.
        wire: where its AWS calls pass.
    """

    def __init__(self, function: Function, wire: Wire) -> None:
        self._function = function
        self._wire = wire
        self.spent = Cost()

    @property
    def wiring(self) -> Wiring:
        """The handler's collaborators."""
        return self._function.wiring

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """See ``Side``."""
        event = _event(method, path, body)
        self._wire.sent.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        answer = self._function(event)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if answer["statusCode"] != 200:
            raise Failed(f"{method} {path}: {answer['statusCode']} {answer['body'][:300]}")
        self.spent += self._cost(wall, cpu, answer["body"])
        return json.loads(answer["body"])

    def _cost(self, wall: float, cpu: float, body: str) -> Cost:
        sent, counted = self._wire.sent, KeptMeter.last
        return Cost(
            wall_ms=wall * 1000,
            cpu_ms=cpu * 1000,
            rounds=rounds(sent),
            calls=len(sent),
            transactions=sum(one.operation == _TRANSACTION for one in sent),
            read_units=counted["read_units"],
            write_units=counted["write_units"],
            bytes=len(body),
        )


@contextmanager
def ours(cloud: Cloud) -> Iterator[Ours]:
    """Have our side while the block runs."""
    wire = Wire()
    with wire.on(), redirect_stderr(StringIO()):
        side = Ours(handler_of("tracking", cloud.wiring()), wire)
        side.ask("GET", "experiments/get?experiment_id=0")
        yield side


def _event(method: str, path: str, body: Any) -> dict[str, Any]:
    """Return the payload as API Gateway makes it: JSON comes as text."""
    target = urlsplit(f"/api/2.0/mlflow/{path}")
    event = payload(method, target.geturl())
    return {**event, "body": "" if body is None else json.dumps(body), "isBase64Encoded": False}


def complain(text: str) -> None:
    """Say something to the person, past any redirection."""
    print(text, file=sys.__stderr__, flush=True)
