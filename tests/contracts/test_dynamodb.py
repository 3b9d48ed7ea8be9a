"""What moto cannot play: throttling, partial answers and transactions that meet."""

import io
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from modelwright.adapters.dynamodb import DynamoTables
from modelwright.errors import ConditionFailed, InvalidInput, Unavailable
from modelwright.storage import Absent, Anything, Key, Put

NAME = "stack-log"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    client = boto3.client(
        "dynamodb", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def tables(stub: Stubber) -> DynamoTables:
    client: Any = stub.client
    return DynamoTables(client, {"log": NAME})


def key(sk: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": "p"}, "sk": {"S": sk}}


def got(*found: str, unprocessed: tuple[str, ...] = ()) -> dict[str, Any]:
    more = {NAME: {"Keys": [key(sk) for sk in unprocessed], "ConsistentRead": True}} if unprocessed else {}
    return {"Responses": {NAME: [key(sk) for sk in found]}, "UnprocessedKeys": more}


def test_an_unprocessed_key_is_asked_for_again_and_never_absent(stub: Stubber, tables: DynamoTables) -> None:
    stub.add_response("batch_get_item", got("a", unprocessed=("b", "c")))
    again = {"RequestItems": {NAME: {"Keys": [key("b"), key("c")], "ConsistentRead": True}}}
    stub.add_response("batch_get_item", got("c", unprocessed=("b",)), again)
    stub.add_response("batch_get_item", got("b"))
    found = tables.batch_get("log", [Key("p", sk) for sk in "abcd"])
    assert sorted(k.sk for k in found) == ["a", "b", "c"]


def test_a_key_that_stays_unprocessed_is_an_error(stub: Stubber, tables: DynamoTables) -> None:
    for _ in range(8):
        stub.add_response("batch_get_item", got(unprocessed=("a",)))
    with pytest.raises(Unavailable, match="1 keys"):
        tables.batch_get("log", [Key("p", "a")])


def requests_of(*sort_keys: str) -> dict[str, Any]:
    return {NAME: [{"PutRequest": {"Item": key(sk)}} for sk in sort_keys]}


def test_an_unprocessed_item_is_put_again(stub: Stubber, tables: DynamoTables) -> None:
    stub.add_response("batch_write_item", {"UnprocessedItems": requests_of("b")})
    stub.add_response("batch_write_item", {"UnprocessedItems": {}}, {"RequestItems": requests_of("b")})
    tables.write_many("log", [{"pk": "p", "sk": sk} for sk in "ab"])


def test_an_item_that_stays_unprocessed_is_an_error(stub: Stubber, tables: DynamoTables) -> None:
    for _ in range(8):
        stub.add_response("batch_write_item", {"UnprocessedItems": requests_of("b")})
    with pytest.raises(Unavailable, match="1 items"):
        tables.write_many("log", [{"pk": "p", "sk": "b"}])


def two() -> list[Put]:
    return [Put("log", {"pk": "p", "sk": sk}, Absent()) for sk in "ab"]


def cancelled(stub: Stubber, *codes: str) -> None:
    reasons = [{"Code": code} for code in codes]
    stub.add_client_error(
        "transact_write_items", "TransactionCanceledException", modeled_fields={"CancellationReasons": reasons}
    )


@pytest.mark.parametrize(
    ("codes", "failed"),
    [
        (("None", "ConditionalCheckFailed"), (1,)),
        (("ConditionalCheckFailed", "TransactionConflict"), (0,)),
        (("TransactionConflict", "None"), ()),
    ],
)
def test_a_cancelled_transaction_tells_whose_condition_failed(
    stub: Stubber, tables: DynamoTables, codes: tuple[str, ...], failed: tuple[int, ...]
) -> None:
    cancelled(stub, *codes)
    with pytest.raises(ConditionFailed) as refused:
        tables.write(two())
    assert refused.value.failed == failed


def test_a_throttled_transaction_is_no_lost_race(stub: Stubber, tables: DynamoTables) -> None:
    cancelled(stub, "None", "ThrottlingError")
    with pytest.raises(Unavailable):
        tables.write(two())


def test_a_transaction_that_can_never_succeed_is_not_taken_for_a_lost_race(stub: Stubber, tables: DynamoTables) -> None:
    cancelled(stub, "None", "ValidationError")
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        tables.write(two())


def test_a_single_write_that_meets_a_transaction_lost_a_race(stub: Stubber, tables: DynamoTables) -> None:
    stub.add_client_error("put_item", "TransactionConflictException")
    with pytest.raises(ConditionFailed) as refused:
        tables.write(two()[:1])
    assert refused.value.failed == ()


def test_a_throttled_write_is_unavailable(stub: Stubber, tables: DynamoTables) -> None:
    stub.add_client_error("put_item", "ProvisionedThroughputExceededException")
    with pytest.raises(Unavailable):
        tables.write([Put("log", {"pk": "p", "sk": "a"}, Anything())])


def test_a_table_that_the_function_was_not_given_is_named(tables: DynamoTables) -> None:
    with pytest.raises(InvalidInput, match="no table for registry"):
        tables.get("registry", Key("p", "a"))


def test_the_short_way_is_taken_first_and_the_client_knows_what_else_to_do(tables: DynamoTables, stub: Stubber) -> None:
    """A plain answer is taken; a refusal is asked for again, and told, by the client."""
    client: Any = stub.client
    answers = [answer(client, 200, FOUND), refused(client)]
    sent: list[Any] = []

    def send(request: Any, **_rest: Any) -> Any:
        sent.append(request)
        return answers.pop(0)

    client.meta.events.register("before-send.dynamodb.BatchGetItem", send)
    short = DynamoTables(client, {"log": NAME}, Credentials("testing", "testing"))
    assert short.batch_get("log", [Key("p", "a")]) == {
        Key("p", "a"): {"pk": "p", "sk": "a", "n": 7, "b": b"\x00\xff", "l": [b"\x01", {"x": True}], "none": None}
    }
    assert sent[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=testing/")
    stub.add_client_error("batch_get_item", "ProvisionedThroughputExceededException")
    with pytest.raises(Unavailable, match="throttled"):
        short.batch_get("log", [Key("p", "a")])
    assert len(sent) == 2


FOUND = b"""{"Responses": {"stack-log": [{"pk": {"S": "p"}, "sk": {"S": "a"}, "n": {"N": "7"}, "b": {"B": "AP8="},
    "l": {"L": [{"B": "AQ=="}, {"M": {"x": {"BOOL": true}}}]}, "none": {"NULL": true}}]}, "UnprocessedKeys": {}}"""


class Body(io.BytesIO):
    """A body as urllib3 has it."""

    def stream(self, *_arguments: Any, **_options: Any) -> Iterator[bytes]:
        yield self.read()


def refused(client: Any) -> Any:
    return answer(client, 400, b'{"__type": "x#ThrottlingException"}')


def answer(client: Any, status: int, body: bytes) -> Any:
    headers: Any = HeadersDict()
    return AWSResponse(client.meta.endpoint_url, status, headers, Body(body))
