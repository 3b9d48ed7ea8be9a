"""``Blobs`` on S3."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from modelwright.errors import InvalidInput, NotFound, Unavailable
from modelwright.storage import BucketName, Listed, Stored, Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DELETED_AT_ONCE = 1000
_MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NoSuchUpload", "NotFound"}


class S3Blobs:
    """``Blobs`` over the deployed buckets.

    Args:
        client: a boto3 S3 client, or what makes one when it is first needed.
        names: the deployed name of each bucket.
    """

    def __init__(self, client: "S3Client | Callable[[], S3Client]", names: Mapping[BucketName, str]) -> None:
        self._given = client
        self._names = names

    @cached_property
    def _client(self) -> "S3Client":
        return self._given() if callable(self._given) else self._given

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        extra: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            answer = self._client.get_object(Bucket=self._name(bucket), Key=key, **extra)
        except ClientError as error:
            raise _translated(error, bucket, key) from error
        return Stored(
            answer["Body"].read(),
            answer.get("VersionId") or "",
            answer["ETag"].strip('"'),
            answer.get("Metadata", {}),
        )

    def get_range(self, bucket: BucketName, key: str, start: int, length: int) -> bytes:
        """See ``Blobs``."""
        wanted = f"bytes={start}-{start + length - 1}"
        try:
            body = self._client.get_object(Bucket=self._name(bucket), Key=key, Range=wanted)["Body"].read()
        except ClientError as error:
            raise _translated(error, bucket, key) from error
        if start < 0 or length <= 0 or len(body) != length:
            raise InvalidInput(f"{bucket}/{key} has no {length} bytes from {start} on")
        return body

    def put(self, bucket: BucketName, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        """See ``Blobs``."""
        answer = self._client.put_object(Bucket=self._name(bucket), Key=key, Body=body, Metadata=dict(metadata or {}))
        return answer.get("VersionId") or ""

    def list(self, bucket: BucketName, prefix: str) -> Iterator[Listed]:
        """See ``Blobs``."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name(bucket), Prefix=prefix)
        for page in pages:
            for row in page.get("Contents", []):
                modified = row["LastModified"].isoformat()
                yield Listed(row["Key"], row["Size"], row["ETag"].strip('"'), modified)

    def level(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """See ``Blobs``."""
        where = self._name(bucket)
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=where, Prefix=prefix, Delimiter="/", StartAfter=max(after, prefix)):
            lines = [Listed(row["Key"], row["Size"], row["ETag"].strip('"')) for row in page.get("Contents", [])]
            lines += [Listed(row["Prefix"], 0, "") for row in page.get("CommonPrefixes", [])]
            # the folder that a list begins after is listed again, because what is in it comes after its name
            yield from sorted((line for line in lines if line.key > after), key=lambda line: line.key)

    def copy(self, source: tuple[BucketName, str, str], target: tuple[BucketName, str]) -> None:
        """See ``Blobs``."""
        bucket, key, version = source
        origin: Any = {"Bucket": self._name(bucket), "Key": key} | ({"VersionId": version} if version else {})
        try:
            self._client.copy_object(Bucket=self._name(target[0]), Key=target[1], CopySource=origin)
        except ClientError as error:
            raise _translated(error, bucket, key) from error

    def delete(self, bucket: BucketName, key: str) -> None:
        """See ``Blobs``."""
        self._client.delete_object(Bucket=self._name(bucket), Key=key)

    def delete_many(self, bucket: BucketName, keys: Iterable[str]) -> None:
        """See ``Blobs``."""
        self._delete(bucket, ({"Key": key} for key in keys))

    def versions(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Version]:
        """See ``Blobs``."""
        start: dict[str, Any] = {"KeyMarker": after} if after else {}
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self._name(bucket), Prefix=prefix, **start):
            rows = [Version(row["Key"], row["VersionId"], row["IsLatest"]) for row in page.get("Versions", [])]
            rows += [
                Version(r["Key"], r["VersionId"], r["IsLatest"], marker=True) for r in page.get("DeleteMarkers", [])
            ]
            yield from sorted((row for row in rows if row.key > after), key=lambda row: row.key)

    def delete_versions(self, bucket: BucketName, versions: Iterable[Version]) -> None:
        """See ``Blobs``."""
        self._delete(bucket, ({"Key": one.key, "VersionId": one.version} for one in versions))

    def _delete(self, bucket: BucketName, objects: Iterable[Any]) -> None:
        rest = iter(objects)
        while some := list(islice(rest, _DELETED_AT_ONCE)):
            wanted: Any = {"Objects": some, "Quiet": True}
            answer = self._client.delete_objects(Bucket=self._name(bucket), Delete=wanted)
            if faults := answer.get("Errors"):
                first = f"{faults[0].get('Key')} ({faults[0].get('Code')})"
                raise Unavailable(f"{len(faults)} objects of {bucket} were not deleted, among them {first}: try again")

    def size(self, bucket: BucketName, key: str) -> int:
        """See ``Blobs``."""
        try:
            return self._client.head_object(Bucket=self._name(bucket), Key=key)["ContentLength"]
        except ClientError as error:
            raise _translated(error, bucket, key) from error

    def presigned_get(self, bucket: BucketName, key: str, *, expires_s: int = 900, filename: str = "") -> str:
        """See ``Blobs``."""
        saved = {"ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}"}
        return self._sign("get_object", bucket, key, expires_s, **(saved if filename else {}))

    def presigned_put(self, bucket: BucketName, key: str, *, expires_s: int = 900) -> str:
        """See ``Blobs``."""
        return self._sign("put_object", bucket, key, expires_s)

    def start_upload(self, bucket: BucketName, key: str, parts: int) -> tuple[str, tuple[str, ...]]:
        """See ``Blobs``."""
        upload = self._client.create_multipart_upload(Bucket=self._name(bucket), Key=key)["UploadId"]
        urls = tuple(
            self._sign("upload_part", bucket, key, 3600, UploadId=upload, PartNumber=n) for n in range(1, parts + 1)
        )
        return upload, urls

    def finish_upload(self, bucket: BucketName, key: str, upload: str, etags: Sequence[tuple[int, str]]) -> None:
        """See ``Blobs``."""
        parts: Any = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in sorted(etags)]}
        try:
            self._client.complete_multipart_upload(
                Bucket=self._name(bucket), Key=key, UploadId=upload, MultipartUpload=parts
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchUpload" and self._consists_of(bucket, key, etags):
                return  # completed before, and the answer was lost
            raise _translated(error, bucket, key) from error

    def abort_upload(self, bucket: BucketName, key: str, upload: str) -> None:
        """See ``Blobs``."""
        try:
            self._client.abort_multipart_upload(Bucket=self._name(bucket), Key=key, UploadId=upload)
        except ClientError as error:
            raise _translated(error, bucket, key) from error

    def _consists_of(self, bucket: BucketName, key: str, etags: Sequence[tuple[int, str]]) -> bool:
        """Say whether an object was made of these parts: S3 makes its etag from theirs (MD5 of MD5s)."""
        try:
            whole = hashlib.md5(b"".join(bytes.fromhex(etag) for _, etag in sorted(etags)), usedforsecurity=False)
            found = self._client.head_object(Bucket=self._name(bucket), Key=key)["ETag"].strip('"')
        except (ValueError, ClientError):  # an etag that is none of S3's; no such object
            return False
        return found == f"{whole.hexdigest()}-{len(etags)}"

    def _sign(self, operation: str, bucket: BucketName, key: str, expires_s: int, **extra: Any) -> str:
        params = {"Bucket": self._name(bucket), "Key": key, **extra}
        return self._client.generate_presigned_url(operation, Params=params, ExpiresIn=expires_s)

    def _name(self, bucket: BucketName) -> str:
        if bucket not in self._names:
            raise InvalidInput(f"this function was given no bucket for {bucket}: it may not touch it")
        return self._names[bucket]


def _translated(error: ClientError, bucket: str, key: str) -> Exception:
    code = error.response["Error"]["Code"]
    if code in _MISSING:
        return NotFound(f"{bucket}/{key} does not exist")
    if code == "InvalidRange":
        return InvalidInput(f"{bucket}/{key} ends before the bytes that were asked for")
    if code in ("InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"):
        return InvalidInput(f"the upload of {bucket}/{key} cannot be completed: {code}")
    return error
