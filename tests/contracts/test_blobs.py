"""What every ``Blobs`` promises."""

import hashlib

import boto3
import pytest
import requests
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.adapters.memory import MemoryBlobs
from modelwright.adapters.s3 import S3Blobs
from modelwright.errors import InvalidInput, NotFound, Unavailable
from modelwright.storage import Blobs, Version

PART = 5 * 1024 * 1024


def test_an_object_comes_back_with_its_bytes_and_metadata(blobs: Blobs, pk: str) -> None:
    version = blobs.put("landing", f"{pk}/a", b"\x00\xff", metadata={"as-of": "2013-01-01"})
    stored = blobs.get("landing", f"{pk}/a")
    assert (stored.body, stored.version, dict(stored.metadata)) == (b"\x00\xff", version, {"as-of": "2013-01-01"})
    assert blobs.size("landing", f"{pk}/a") == 2


def test_a_range_is_those_bytes(blobs: Blobs, pk: str) -> None:
    blobs.put("lake", f"{pk}/a", b"0123456789")
    assert blobs.get_range("lake", f"{pk}/a", 3, 4) == b"3456"
    assert blobs.get_range("lake", f"{pk}/a", 0, 10) == b"0123456789"


@pytest.mark.parametrize(("start", "length"), [(8, 3), (10, 1), (40, 2)])
def test_bytes_that_are_not_there_are_refused(blobs: Blobs, pk: str, start: int, length: int) -> None:
    blobs.put("lake", f"{pk}/a", b"0123456789")
    with pytest.raises(InvalidInput, match="bytes"):
        blobs.get_range("lake", f"{pk}/a", start, length)
    with pytest.raises(NotFound):
        blobs.get_range("lake", f"{pk}/none", 0, 1)


@given(body=st.binary(max_size=2000))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_come_back(blobs: Blobs, body: bytes) -> None:
    blobs.put("lake", "any/bytes", body)
    assert blobs.get("lake", "any/bytes").body == body


def test_every_version_can_be_got(blobs: Blobs, pk: str) -> None:
    first = blobs.put("lake", f"{pk}/a", b"1")
    second = blobs.put("lake", f"{pk}/a", b"2")
    assert first != second
    assert blobs.get("lake", f"{pk}/a", first).body == b"1"
    assert blobs.get("lake", f"{pk}/a", second) == blobs.get("lake", f"{pk}/a")


def test_every_version_and_every_deletion_is_listed(blobs: Blobs, pk: str) -> None:
    first, second = blobs.put("lake", f"{pk}/b", b"1"), blobs.put("lake", f"{pk}/b", b"2")
    gone = blobs.put("lake", f"{pk}/a", b"3")
    blobs.delete("lake", f"{pk}/a")
    listed = list(blobs.versions("lake", f"{pk}/"))
    assert [one.key for one in listed] == [f"{pk}/a"] * 2 + [f"{pk}/b"] * 2
    assert {(v.version, v.newest) for v in listed if not v.marker} == {(first, False), (second, True), (gone, False)}
    assert [(v.key, v.newest) for v in listed if v.marker] == [(f"{pk}/a", True)]
    assert [v.key for v in blobs.versions("lake", f"{pk}/", after=f"{pk}/a")] == [f"{pk}/b"] * 2


def test_a_version_that_is_deleted_is_gone_and_the_one_before_shows(blobs: Blobs, pk: str) -> None:
    first, second = blobs.put("lake", f"{pk}/a", b"1"), blobs.put("lake", f"{pk}/a", b"2")
    blobs.delete_versions("lake", [Version(f"{pk}/a", second, newest=True)])
    assert blobs.get("lake", f"{pk}/a").body == b"1"
    with pytest.raises(NotFound):
        blobs.get("lake", f"{pk}/a", second)
    blobs.delete_versions("lake", [Version(f"{pk}/a", second, newest=True), Version(f"{pk}/a", first, newest=True)])
    assert not list(blobs.versions("lake", f"{pk}/"))


def test_an_object_is_gone_for_good_when_its_versions_and_then_its_deletion_are(blobs: Blobs, pk: str) -> None:
    for body in (b"1", b"2"):
        blobs.put("lake", f"{pk}/a", body)
    blobs.delete("lake", f"{pk}/a")
    there = list(blobs.versions("lake", f"{pk}/"))
    blobs.delete_versions("lake", [one for one in there if not one.marker])
    with pytest.raises(NotFound):
        blobs.get("lake", f"{pk}/a")
    blobs.delete_versions("lake", [one for one in there if one.marker])
    assert not list(blobs.versions("lake", f"{pk}/"))


def test_equal_bytes_have_equal_etags(blobs: Blobs, pk: str) -> None:
    for name, body in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        blobs.put("lake", f"{pk}/{name}", body)
    etags = [listed.etag for listed in blobs.list("lake", f"{pk}/")]
    assert etags[0] == etags[1] != etags[2]
    assert etags[0] == blobs.get("lake", f"{pk}/a").etag


def test_a_listing_is_in_key_order_below_the_prefix(blobs: Blobs, pk: str) -> None:
    for name in ("b", "a/2", "a/1", "ab"):
        blobs.put("lake", f"{pk}/{name}", b"12")
    blobs.put("landing", f"{pk}/a/3", b"")
    assert [(row.key.removeprefix(f"{pk}/"), row.size) for row in blobs.list("lake", f"{pk}/a")] == [
        ("a/1", 2),
        ("a/2", 2),
        ("ab", 2),
    ]
    assert list(blobs.list("lake", f"{pk}/nothing")) == []


def test_a_listing_has_more_than_one_page(blobs: Blobs, pk: str) -> None:
    for n in range(1005):
        blobs.put("lake", f"{pk}/{n:05}", b"")
    assert [row.key for row in blobs.list("lake", f"{pk}/")] == [f"{pk}/{n:05}" for n in range(1005)]


def test_a_level_is_of_objects_and_folders_in_key_order(blobs: Blobs, pk: str) -> None:
    for name in ("b/1", "b/c/2", "a", "b.txt", "b", "z/1"):
        blobs.put("lake", f"{pk}/x/{name}", b"12")
    blobs.put("lake", f"{pk}/x/", b"")
    lines = [(line.key.removeprefix(f"{pk}/x/"), line.size) for line in blobs.level("lake", f"{pk}/x/")]
    assert lines == [("a", 2), ("b", 2), ("b.txt", 2), ("b/", 0), ("z/", 0)]
    assert [line.key for line in blobs.level("lake", f"{pk}/x/b/")] == [f"{pk}/x/b/1", f"{pk}/x/b/c/"]
    assert list(blobs.level("lake", f"{pk}/nothing/")) == []


def test_a_level_goes_on_after_any_of_its_lines(blobs: Blobs, pk: str) -> None:
    for name in ("b/1", "b/c/2", "a", "b.txt", "é", "z/1"):
        blobs.put("lake", f"{pk}/{name}", b"12")
    lines = [line.key for line in blobs.level("lake", f"{pk}/")]
    for n, line in enumerate(lines):
        assert [rest.key for rest in blobs.level("lake", f"{pk}/", after=line)] == lines[n + 1 :]


def test_a_level_of_many_folders_has_more_than_one_page(blobs: Blobs, pk: str) -> None:
    names = [f"{n:05}/x" if n % 2 else f"{n:05}" for n in range(1005)]
    for name in names:
        blobs.put("lake", f"{pk}/{name}", b"")
    wanted = [f"{pk}/{name.removesuffix('x')}" for name in names]
    assert [line.key for line in blobs.level("lake", f"{pk}/")] == wanted


def test_many_objects_are_deleted_at_once(blobs: Blobs, pk: str) -> None:
    for n in range(1005):
        blobs.put("lake", f"{pk}/{n:05}", b"")
    blobs.delete_many("lake", [f"{pk}/{n:05}" for n in range(2000) if n != 7])
    assert [row.key for row in blobs.list("lake", f"{pk}/")] == [f"{pk}/00007"]
    blobs.delete_many("lake", [])


def test_what_could_not_be_deleted_is_told() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    with Stubber(client) as stub:
        stub.add_response("delete_objects", {"Errors": [{"Key": "b", "Code": "InternalError"}]})
        with pytest.raises(Unavailable, match=r"b \(InternalError\)"):
            S3Blobs(client, {"lake": "stack-lake"}).delete_many("lake", ["a", "b"])


def test_a_copy_is_of_the_version_named(blobs: Blobs, pk: str) -> None:
    first = blobs.put("landing", f"{pk}/a", b"1", metadata={"as-of": "x"})
    blobs.put("landing", f"{pk}/a", b"2")
    blobs.copy(("landing", f"{pk}/a", first), ("lake", f"{pk}/old"))
    blobs.copy(("landing", f"{pk}/a", ""), ("lake", f"{pk}/new"))
    old, new = blobs.get("lake", f"{pk}/old"), blobs.get("lake", f"{pk}/new")
    assert (old.body, dict(old.metadata), new.body) == (b"1", {"as-of": "x"}, b"2")


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(blobs: Blobs, pk: str) -> None:
    blobs.put("lake", f"{pk}/a", b"1")
    blobs.delete("lake", f"{pk}/a")
    blobs.delete("lake", f"{pk}/a")
    assert list(blobs.list("lake", f"{pk}/")) == []
    with pytest.raises(NotFound, match="lake/"):
        blobs.get("lake", f"{pk}/a")


def test_a_version_outlives_the_deletion_of_its_object(blobs: Blobs, pk: str) -> None:
    version = blobs.put("lake", f"{pk}/a", b"1")
    blobs.delete("lake", f"{pk}/a")
    assert blobs.get("lake", f"{pk}/a", version).body == b"1"
    blobs.put("lake", f"{pk}/a", b"2")
    assert blobs.get("lake", f"{pk}/a").body == b"2"


def test_what_does_not_exist_is_named(blobs: Blobs, pk: str) -> None:
    blobs.put("lake", f"{pk}/there", b"1")
    for use in (
        lambda: blobs.get("lake", f"{pk}/a"),
        lambda: blobs.get("landing", f"{pk}/there"),
        lambda: blobs.size("lake", f"{pk}/a"),
        lambda: blobs.copy(("lake", f"{pk}/a", ""), ("lake", f"{pk}/b")),
        lambda: blobs.abort_upload("lake", f"{pk}/a", "nobody"),
    ):
        with pytest.raises(NotFound, match=r"lake/|landing/"):
            use()


def test_a_signed_url_names_the_object_and_when_it_expires(blobs: Blobs, pk: str) -> None:
    for url in (blobs.presigned_get("lake", "x/a", expires_s=60), blobs.presigned_put("lake", "x/a", expires_s=60)):
        assert "lake/x/a" in url
        assert "xpires=60" in url


def test_an_upload_in_parts_appears_when_it_is_finished(blobs: Blobs, pk: str) -> None:
    upload, urls = blobs.start_upload("lake", f"{pk}/big", 2)
    assert len(set(urls)) == 2
    with pytest.raises(NotFound):
        blobs.get("lake", f"{pk}/big")
    etags = [(number, sent(blobs, url, bytes([number]) * PART)) for number, url in enumerate(urls, 1)]
    blobs.finish_upload("lake", f"{pk}/big", upload, etags[::-1])
    version = blobs.get("lake", f"{pk}/big").version
    blobs.finish_upload("lake", f"{pk}/big", upload, etags)
    assert blobs.size("lake", f"{pk}/big") > 0
    assert blobs.get("lake", f"{pk}/big").version == version, "completed again, it is the same"
    if isinstance(blobs, MemoryBlobs):  # moto takes any parts then
        with pytest.raises(NotFound):
            blobs.finish_upload("lake", f"{pk}/big", upload, etags[:1])
    if isinstance(blobs, S3Blobs):
        assert blobs.get("lake", f"{pk}/big").body == b"\x01" * PART + b"\x02" * PART


def test_an_aborted_upload_is_gone(blobs: Blobs, pk: str) -> None:
    upload, urls = blobs.start_upload("lake", f"{pk}/big", 1)
    sent(blobs, urls[0], b"1")
    blobs.abort_upload("lake", f"{pk}/big", upload)
    with pytest.raises(NotFound):
        blobs.abort_upload("lake", f"{pk}/big", upload)


def test_an_upload_that_was_never_begun_cannot_be_finished_in_memory() -> None:
    with pytest.raises(NotFound, match="lake/a"):
        MemoryBlobs().finish_upload("lake", "a", "nobody", [(1, "etag")])


def test_an_upload_that_was_never_begun_cannot_be_finished_in_s3() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    blobs = S3Blobs(client, {"lake": "stack-lake"})
    for etag in ("etag", "0" * 32):
        with Stubber(client) as stub:
            stub.add_client_error("complete_multipart_upload", "NoSuchUpload")  # moto falls over this
            stub.add_client_error("head_object", "404")
            with pytest.raises(NotFound, match="lake/a"):
                blobs.finish_upload("lake", "a", "nobody", [(1, etag)])


def test_an_upload_to_s3_that_was_finished_by_a_lost_answer_is_finished() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    etags = [(2, hashlib.md5(b"2").hexdigest()), (1, hashlib.md5(b"1").hexdigest())]
    whole = hashlib.md5(hashlib.md5(b"1").digest() + hashlib.md5(b"2").digest()).hexdigest()
    with Stubber(client) as stub:
        stub.add_client_error("complete_multipart_upload", "NoSuchUpload")
        stub.add_response("head_object", {"ETag": f'"{whole}-2"'})
        S3Blobs(client, {"lake": "stack-lake"}).finish_upload("lake", "a", "finished", etags)


def sent(blobs: Blobs, url: str, body: bytes) -> str:
    """Send a part as a client does, and return its etag; in memory nothing serves the URL."""
    if isinstance(blobs, MemoryBlobs):
        return url
    answer = requests.put(url, data=body, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.headers["ETag"].strip('"')


def test_a_signed_url_tells_browsers_how_to_name_the_file(deployed_blobs: S3Blobs) -> None:
    deployed_blobs.put("lake", "a", b"12")
    url = deployed_blobs.presigned_get("lake", "a", filename='ü "1".txt')
    assert requests.get(url, timeout=10).headers["content-disposition"].startswith("attachment; filename*=UTF-8''%C3")


def test_signed_urls_of_s3_work_without_credentials(deployed_blobs: S3Blobs) -> None:
    assert requests.put(deployed_blobs.presigned_put("lake", "a b/ü"), data=b"12", timeout=10).status_code == 200
    assert deployed_blobs.get("lake", "a b/ü").body == b"12"
    assert requests.get(deployed_blobs.presigned_get("lake", "a b/ü"), timeout=10).content == b"12"


def test_a_wrong_part_is_refused(deployed_blobs: S3Blobs) -> None:
    upload, urls = deployed_blobs.start_upload("lake", "wrong", 1)
    sent(deployed_blobs, urls[0], b"1")
    with pytest.raises(InvalidInput, match="InvalidPart"):
        deployed_blobs.finish_upload("lake", "wrong", upload, [(1, "0" * 32)])


def test_a_bucket_that_the_function_was_not_given_is_named(deployed_blobs: S3Blobs) -> None:
    with pytest.raises(InvalidInput, match="no bucket for audit"):
        deployed_blobs.get("audit", "a")
