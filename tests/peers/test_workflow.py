"""The stock client from the first run to a registered model, and that no file passes a function of ours."""

from pathlib import Path

import pytest
from support.client import needs_mlflow, run_client
from support.http import Exchange
from support.mlflow_desk import Desk

pytestmark = [pytest.mark.peers, needs_mlflow]
HERE = Path(__file__).parent
UPLOADED = 25_000_000


def test_a_team_does_all_its_work_with_the_stock_client(tmp_path: Path) -> None:
    run_client(Desk(), HERE / "workflow_script.py", tmp_path)
    assert (tmp_path / "done").exists(), "it did not come to its end"


def test_a_team_with_the_stock_client_as_it_is_installed_does_so_too(tmp_path: Path) -> None:
    """Small files of older clients pass the function, and come back by redirects."""
    Path(tmp_path / "script.py").write_text(SMALL)
    seen: list[Exchange] = []
    run_client(Desk(), tmp_path / "script.py", tmp_path, seen=seen, parts=False)
    assert [e.status for e in seen if e.method == "PUT" and not e.of_bucket] == [200, 200, 413]
    assert {e.status for e in seen if e.method == "GET" and "/mlflow-artifacts/artifacts/" in e.path} == {302}


SMALL = """
from pathlib import Path
import mlflow, pytest
with mlflow.start_run() as run:
    mlflow.log_text("hello", "n.txt")
    mlflow.log_dict({"a": 1}, "d/d.json")
    Path("big.bin").write_bytes(b"x" * 5_000_000)
    with pytest.raises(Exception, match="MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"):
        mlflow.log_artifact("big.bin")
assert mlflow.artifacts.load_text(run.info.artifact_uri + "/n.txt") == "hello"
assert mlflow.artifacts.load_dict(run.info.artifact_uri + "/d/d.json") == {"a": 1}
"""


def test_no_byte_of_a_file_passes_a_function(tmp_path: Path) -> None:
    Path(tmp_path / "script.py").write_text(LARGE)
    seen: list[Exchange] = []
    desk = Desk()
    run_client(desk, tmp_path / "script.py", tmp_path, seen=seen)
    of_bucket, of_functions = [e for e in seen if e.of_bucket], [e for e in seen if not e.of_bucket]
    assert sum(e.sent for e in of_bucket) == sum(e.got for e in of_bucket) == UPLOADED
    assert len([e for e in of_bucket if e.method == "PUT"]) == 5
    assert max(max(e.sent, e.got) for e in of_functions) < 4000
    stored = [listed.size for listed in desk.blobs.list("artifacts", "")]
    assert stored == [UPLOADED]


LARGE = f"""
import os
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(5 * 1024 * 1024)
from pathlib import Path
import mlflow
Path("big.bin").write_bytes(bytes({UPLOADED}))
with mlflow.start_run() as run:
    mlflow.log_artifact("big.bin")
found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="big.bin", dst_path="back")
assert Path(found).read_bytes() == bytes({UPLOADED})
"""
