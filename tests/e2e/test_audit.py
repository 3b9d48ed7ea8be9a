"""On a real stack: a period is exported and verified, and a day that is over goes into the Object-Lock bucket."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.desk import OTHER, Desk
from modelwright.cli import audit
from modelwright.governance import verifier
from modelwright.governance.archiving import NEWEST
from modelwright.log import Log, canonical
from modelwright.storage import Absent, Put

pytestmark = pytest.mark.e2e


def test_a_period_is_exported_with_its_proof_by_each_workspace(desk: Desk, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for workspace, token in (("default", desk.token), (OTHER, desk.other)):
        folder = tmp_path / workspace
        folder.mkdir()
        api = desk.api(token=token)
        items, streams, digest = audit.take(api, folder, (now - timedelta(hours=1), now + timedelta(hours=1)), "csv")
        assert items > 0
        assert streams > 0
        assert {json.loads(line)["pk"].split("#")[1] for line in (folder / "log.jsonl").read_text().splitlines()} == {
            workspace
        }
        roots = [verifier.read(path) for path in folder.glob("root-*.json")]
        assert verifier.check_excerpt(folder / "manifest.json", roots, digest)[0] == []
        assert audit.remade_faults(folder) == []
        assert "the log has this manifest" in audit.record_of(api, folder / "manifest.json")


def test_a_day_that_is_over_is_archived_once_and_verifies_as_it_lies_in_the_bucket(desk: Desk, tmp_path: Path) -> None:
    """The archive is told that it reaches to a root of yesterday, before anything was written."""
    tables, at = desk.tables(), datetime.now(UTC) - timedelta(days=1)
    body = {"number": -9, "previous": "", "at": at.isoformat(), "heads": {}}
    root = {**body, "root": hashlib.sha256(canonical(body)).hexdigest()}
    told = {"number": -9, "at": at.isoformat(), "key": f"roots/{at:%Y/%m/%d}/00000000.json", "root": root["root"]}
    bucket = desk.running.outputs["AuditBucketName"]
    desk.running.client("s3").put_object(Bucket=bucket, Key=told["key"], Body=canonical(root))
    tables.write([Put("governance", {**NEWEST._asdict(), **told, "day": "2013-01-01"}, Absent())])
    for _ in range(2):
        desk.due("anchor", datetime.now(UTC))
    folder = f"archive/{at:%Y/%m/%d}/"
    keys = {key for key in desk.keys("AuditBucketName") if key.startswith("archive/")}
    assert keys == {f"{folder}manifest.json", f"{folder}part-00001.jsonl.gz"}
    for key in keys:
        (tmp_path / key.rsplit("/", 1)[1]).write_bytes(desk.body(key, "AuditBucketName"))
    last = json.loads((tmp_path / "manifest.json").read_bytes())["to"]["key"]
    roots = [root, json.loads(desk.body(last, "AuditBucketName"))]
    (event,) = Log(tables).read("WS#default#AUDIT#archive")
    faults, streams, items = verifier.check_excerpt(tmp_path / "manifest.json", roots, event.envelope.data["digest"])
    assert (faults, items) == ([], event.envelope.data["items"])
    assert streams > 1
    assert "by platform" in audit.record_of(desk.api(), tmp_path / "manifest.json")
