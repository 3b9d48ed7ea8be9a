"""`modelwright ui publish`: the build into the bucket, as often as one likes, and what is old out of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from e2e import shell
from moto import mock_aws

from cli.conftest import Home
from modelwright.cli.ui import publish
from modelwright.local import stacks
from modelwright.local.stack import Running, Stack
from modelwright.local.ui import Build, installed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "interface"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def made(folder: Path, *names: str) -> Build:
    for name in ("index.html", *names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{folder.name} {name}")
    return Build.of(folder)


def held(s3: "S3Client") -> set[str]:
    return {row["Key"] for row in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_every_file_is_published_with_its_type_and_how_long_it_is_kept(s3: "S3Client", tmp_path: Path) -> None:
    build = made(tmp_path / "one", "static/main.0123abcd.js")
    assert publish(build, bucket=BUCKET, s3=s3) == 0
    assert held(s3) == {"index.html", "static-files/index.html", "static-files/static/main.0123abcd.js"}
    script = s3.get_object(Bucket=BUCKET, Key="static-files/static/main.0123abcd.js")
    page = s3.get_object(Bucket=BUCKET, Key="index.html")
    assert (script["ContentType"], page["ContentType"]) == (
        "text/javascript; charset=utf-8",
        "text/html; charset=utf-8",
    )
    assert (script["CacheControl"], page["CacheControl"]) == ("public, max-age=31536000, immutable", "no-cache")
    assert page["Body"].read() == b"one index.html"


def test_a_newer_build_replaces_the_old_one(s3: "S3Client", tmp_path: Path) -> None:
    publish(made(tmp_path / "one", "old.0123abcd.js", "kept.js"), bucket=BUCKET, s3=s3)
    newer = made(tmp_path / "two", "new.4567abcd.js", "kept.js")
    assert publish(newer, bucket=BUCKET, s3=s3) == 1
    assert publish(newer, bucket=BUCKET, s3=s3) == 0
    assert held(s3) == set(newer.files)
    assert s3.get_object(Bucket=BUCKET, Key="static-files/kept.js")["Body"].read() == b"two kept.js"


# --- on a stack --------------------------------------------------------------------------


@pytest.mark.e2e
def test_a_stack_without_an_interface_says_how_it_gets_one(home: Home) -> None:
    said = shell.run("ui", "publish", folder=home.folder, variables=Stack(home.folder).env())
    assert "deploy it with the parameter Ui=cloudfront first" in said.complaint


@pytest.mark.e2e
def test_a_stack_that_nobody_deployed_is_named(home: Home) -> None:
    said = shell.run("ui", "publish", "--stack", "nobody", folder=home.folder, variables=Stack(home.folder).env())
    assert "there is no stack nobody" in said.complaint


@pytest.mark.e2e
def test_a_deployed_stack_gets_the_installed_interface(home: Home) -> None:
    build, running = installed(), with_interface(home)
    assert build is not None
    said = shell.run("ui", "publish", folder=home.folder, variables=running.env())
    url, bucket = running.outputs["UiUrl"], running.outputs["UiBucketName"]
    assert said.lines == [f"{len(build.files)} files published, 0 old ones removed: {url}"]
    page = running.client("s3").get_object(Bucket=bucket, Key="index.html")
    assert page["Body"].read() == build.files["index.html"].path.read_bytes()


def with_interface(home: Home) -> Running:
    """Deploy the stack again, with the parameter that a deploy into an account would have."""
    given = {**stacks.parameters(virtual_time=False), "Ui": "cloudfront"}
    running = Stack(home.folder).up(parameters=given, bootstrap=stacks.first_token)
    assert running is not None
    return running
