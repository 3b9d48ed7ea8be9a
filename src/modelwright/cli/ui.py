"""``modelwright ui``: MLflow's web interface of a deployed stack.

The files are those of the mlflow that is installed here, so an upgrade is `pip install -U mlflow` and
publishing again. The page comes last and what it no longer needs goes after it: who opens it meanwhile
gets the old one or the new one, whole.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from modelwright.errors import NotFound
from modelwright.local import stacks
from modelwright.local.ui import PAGE, Build, installed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 16

app = typer.Typer(no_args_is_help=True, help="Publish MLflow's web interface.")


@app.callback()
def group() -> None:
    """Keep ``publish`` a command of its own, though it is the only one."""


@app.command("publish")
def command(
    stack: Annotated[str, typer.Option(help="Name of the deployed CloudFormation stack.")] = "modelwright",
) -> None:
    """Put the interface of the installed mlflow into a deployed stack, with your own AWS credentials."""
    import boto3

    outputs = stacks.outputs(stack)
    if "UiBucketName" not in outputs:
        raise NotFound(f"the stack {stack} serves no interface: deploy it with the parameter Ui=cloudfront first")
    if (build := installed()) is None:
        raise NotFound("no mlflow with a web interface is installed here: pip install mlflow")
    removed = publish(build, bucket=outputs["UiBucketName"], s3=boto3.client("s3"))
    typer.echo(f"{len(build.files)} files published, {removed} old ones removed: {outputs['UiUrl']}")


def publish(build: Build, *, bucket: str, s3: "S3Client") -> int:
    """Make a bucket hold the build and nothing else; return how many objects were removed. Repeating it is harmless."""

    def put(name: str) -> None:
        file = build.files[name]
        body = file.path.read_bytes()
        s3.put_object(
            Bucket=bucket, Key=name, Body=body, ContentType=file.content_type, CacheControl=file.cache_control
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(put, (name for name in build.files if name != PAGE)))
    put(PAGE)
    old = sorted(set(_keys(bucket, s3)) - set(build.files))
    for key in old:
        s3.delete_object(Bucket=bucket, Key=key)
    return len(old)


def _keys(bucket: str, s3: "S3Client") -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (row["Key"] for row in page.get("Contents", ()))
