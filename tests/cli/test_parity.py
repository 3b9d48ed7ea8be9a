"""``modelwright features prove`` and ``proofs``, over the functions behind a loopback port."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from features.parity_cases import SERVICE, START, orders
from features.test_parity_service import Deployed
from support.http import ServedBlobs, deliver, serve
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app
from modelwright.errors import NotFound

Run = Callable[..., Result]
SINCE = ("--since", START.isoformat(), "--pairs", "30")


class Prompt:
    """The function ``features``, with a bus that brings what it asks for to ``materialize`` at once."""

    def __init__(self, shop: Deployed) -> None:
        self.shop = shop
        self.routes = shop.features.routes

    def __call__(self, event: dict[str, Any]) -> Any:
        before = len(self.shop.told())
        answer = self.shop.features(event)
        for envelope in self.shop.told()[before:]:
            deliver(self.shop.materialize, envelope)
        return answer


@pytest.fixture
def shop() -> Deployed:
    made = Deployed(blobs=ServedBlobs())
    made.live(days=2)
    return made


@pytest.fixture
def run(shop: Deployed) -> Iterator[Run]:
    blobs: Any = shop.blobs
    function: Any = Prompt(shop)
    with serve([function], blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["features", *arguments, "--endpoint", url])


def test_a_proof_is_asked_for_awaited_and_shown_with_its_page(run: Run, shop: Deployed) -> None:
    said = run("prove", SERVICE, *SINCE)
    assert said.exit_code == 0, (said.output, said.exception)
    lines = said.stdout.splitlines()
    assert lines[0].startswith("checkout: proven: serving and training agree in all ")
    assert "24 answers" in lines[1]
    assert "30 pairs" in lines[2]
    assert "/-/bucket/lake/proofs/default/" in lines[-1]


def test_a_difference_is_named_and_the_exit_status_says_so(run: Run, shop: Deployed) -> None:
    late = [{**order, "order_id": f"late {order['order_id']}"} for order in orders(random.Random(5), 30, 1, people=4)]
    shop.push("orders", late, START + timedelta(days=4))
    shop.fold(START + timedelta(days=4))
    said = run("prove", SERVICE, *SINCE)
    assert said.exit_code == 1
    assert "DIFFERENT" in said.stdout
    assert "late data" in said.stdout
    assert "of customer c" in said.stdout
    found = run("prove", SERVICE, *SINCE, "--json")
    assert found.exit_code == 1
    assert {each["cause"] for each in json.loads(found.stdout)["report"]["differences"]} == {"late data"}


def test_an_earlier_proof_is_shown_again(run: Run, shop: Deployed) -> None:
    first = run("prove", SERVICE, *SINCE)
    listed = run("proofs", SERVICE)
    identity, *rest = listed.stdout.split()
    assert "proven" in rest
    again = run("prove", SERVICE, "--proof", identity)
    assert again.exit_code == 0
    assert again.stdout.splitlines()[:3] == first.stdout.splitlines()[:3]
    assert [each["proof_id"] for each in json.loads(run("proofs", SERVICE, "--json").stdout)] == [identity]


def test_what_cannot_be_proven_says_why(run: Run) -> None:
    assert run("proofs", SERVICE).stdout.startswith("nobody asked for a proof of checkout")
    nothing = run("prove", SERVICE, "--pairs", "0")
    assert nothing.exit_code == 1
    assert nothing.stdout.startswith("checkout: NOT PROVEN: there is nothing to compare")
    unknown = run("prove", "nonsense")
    assert isinstance(unknown.exception, NotFound)
    assert "there is no feature service nonsense" in str(unknown.exception)
    assert isinstance(run("prove", SERVICE, "--proof", "x").exception, NotFound)
    assert isinstance(run("proofs", "nonsense").exception, NotFound)
