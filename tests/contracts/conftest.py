"""Both adapters of each port: memory, and DynamoDB and S3 as moto plays them."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from modelwright.adapters.dynamodb import DynamoTables
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.adapters.s3 import S3Blobs
from modelwright.storage import Blobs, Tables

REGION = "us-east-1"
BUCKETS = ("landing", "lake")


@pytest.fixture(scope="package")
def cloud() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        with mock_aws():
            yield


@pytest.fixture(scope="package")
def deployed_tables(cloud: None) -> DynamoTables:
    client = boto3.client("dynamodb")
    for table in ("log", "registry"):
        client.create_table(
            TableName=f"stack-{table}",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "by_hour_pk", "by_hour_sk")
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_hour",
                    "KeySchema": [
                        {"AttributeName": "by_hour_pk", "KeyType": "HASH"},
                        {"AttributeName": "by_hour_sk", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
    return DynamoTables(client, {"log": "stack-log", "registry": "stack-registry"})


@pytest.fixture(scope="package")
def deployed_blobs(cloud: None) -> S3Blobs:
    client = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    for bucket in BUCKETS:
        client.create_bucket(Bucket=f"stack-{bucket}")
        client.put_bucket_versioning(Bucket=f"stack-{bucket}", VersioningConfiguration={"Status": "Enabled"})
    return S3Blobs(client, {"landing": "stack-landing", "lake": "stack-lake"})


@pytest.fixture(params=["memory", "dynamodb"])
def tables(request: pytest.FixtureRequest) -> Tables:
    """The port's implementation; DynamoDB's is shared, so every test takes a partition of its own."""
    if request.param == "memory":
        return MemoryTables()
    deployed: Tables = request.getfixturevalue("deployed_tables")
    return deployed


@pytest.fixture(params=["memory", "s3"])
def blobs(request: pytest.FixtureRequest) -> Blobs:
    """The port's implementation; S3's is shared, so every test takes a prefix of its own."""
    if request.param == "memory":
        return MemoryBlobs()
    deployed: Blobs = request.getfixturevalue("deployed_blobs")
    return deployed


@pytest.fixture
def pk(request: pytest.FixtureRequest) -> str:
    """A partition, or prefix, of this test alone."""
    return f"WS#default#{request.node.name}"
