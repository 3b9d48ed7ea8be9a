"""Our end of a copy: a stack's HTTP API, and its bucket by signed URLs."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from modelwright.client import Api
from modelwright.errors import Conflict, NotFound, Unavailable
from modelwright.transfer import bucket
from modelwright.transfer.answers import (
    experiment_of,
    logged_model_of,
    pairs,
    quoted,
    registered_model_of,
    run_of,
    said,
    version_of,
)
from modelwright.transfer.records import (
    RUN_ID,
    DatasetInput,
    Entry,
    Experiment,
    LoggedModel,
    ModelPoint,
    Point,
    RegisteredModel,
    Run,
    Version,
)

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts"
_SCHEME = "mlflow-artifacts:"
_PAGE = 1000
_HISTORY_PAGE = 25_000
_PAUSES_S = (0.2, 0.5, 1, 2, 4, 8)
_ONLY_PROMPTS = "tags.`mlflow.prompt.is_prompt` = 'true'"


class Ours:
    """A stack.

    Requests that got no answer are sent again: what makes something has a key, and everything else may come twice.

    Args:
        endpoint: its base URL.
        token: a token of a contributor, or more.
        pauses_s: how long to wait before each further attempt.
    """

    chooses_numbers = True

    def __init__(self, endpoint: str, token: str, pauses_s: Sequence[float] = _PAUSES_S) -> None:
        self.name = endpoint.rstrip("/")
        self._token, self._pauses_s = token, pauses_s
        self._mine = threading.local()

    # --- reading --------------------------------------------------------------------------

    def experiments(self) -> Iterator[Experiment]:
        """See ``Source``."""
        body = {"view_type": "ALL", "max_results": _PAGE}
        return (experiment_of(e) for e in self._pages("POST", "experiments/search", "experiments", body))

    def runs(self, experiment_id: str, *, since: int = 0) -> Iterator[Run]:
        """See ``Source``."""
        return self._runs(experiment_id, f"attributes.start_time >= {since}" if since else "")

    def copied_runs(self, experiment_id: str) -> Iterator[Run]:
        """See ``Target``."""
        return self._runs(experiment_id, f"tags.`{RUN_ID}` LIKE '%'")

    def run(self, run_id: str) -> Run:
        """See ``Source``."""
        return run_of(self._get("runs/get", run_id=run_id)["run"])

    def points(self, run_id: str, key: str) -> list[Point]:
        """See ``Source``."""
        asked = {"run_id": run_id, "metric_key": key, "max_results": _HISTORY_PAGE}
        found = self._pages("GET", "metrics/get-history", "metrics", asked)
        return [Point(int(m["timestamp"]), int(m.get("step", 0)), float(m["value"])) for m in found]

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """See ``Source``."""
        body = {"experiment_ids": [experiment_id], "max_results": _PAGE}
        return (logged_model_of(m) for m in self._pages("POST", "logged-models/search", "models", body))

    def logged_model(self, model_id: str) -> LoggedModel:
        """See ``Source``."""
        return logged_model_of(self._get(f"logged-models/{quote(model_id)}")["model"])

    def registered_models(self) -> Iterator[RegisteredModel]:
        """See ``Source``."""
        for only in ("", _ONLY_PROMPTS):
            asked = {"filter": only, "max_results": _PAGE}
            found = self._pages("GET", "registered-models/search", "registered_models", asked)
            yield from (registered_model_of(model) for model in found)

    def registered_model(self, name: str) -> RegisteredModel:
        """See ``Source``."""
        return registered_model_of(self._get("registered-models/get", name=name)["registered_model"])

    def versions(self, model: RegisteredModel) -> list[Version]:
        """See ``Source``."""
        clauses = [f"name = {quoted(model.name)}", *([_ONLY_PROMPTS] if model.is_prompt else [])]
        asked = {"filter": " AND ".join(clauses), "max_results": _PAGE}
        found = self._pages("GET", "model-versions/search", "model_versions", asked)
        return sorted((version_of(v) for v in found), key=lambda version: version.number)

    def download_uri(self, model: str, number: int) -> str:
        """See ``Source``."""
        return str(self._get("model-versions/get-download-uri", name=model, version=str(number))["artifact_uri"])

    def level(self, uri: str, path: str) -> list[Entry]:
        """See ``Source``."""
        asked = {"path": f"{_path(uri)}/{path}".rstrip("/"), "max_results": _PAGE}
        return [
            Entry(f"{path}/{f['path']}".lstrip("/"), f["is_dir"], int(f.get("file_size") or 0))
            for f in self._pages("GET", f"{_FILES}/artifacts", "files", asked)
        ]

    def fetch(self, uri: str, path: str, folder: Path) -> Path:
        """See ``Source``."""
        answer = self._send("GET", f"{_FILES}/presigned/{quote(f'{_path(uri)}/{path}')}")
        file = folder / Path(path).name
        bucket.download(answer["url"], answer.get("headers") or {}, int(answer["file_size"]), file)
        return file

    # --- writing --------------------------------------------------------------------------

    def add_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """See ``Target``."""
        body = {"name": name, "tags": pairs(tags)}
        return str(self._post("experiments/create", body, uuid4().hex)["experiment_id"])

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """See ``Target``."""
        for pair in pairs(tags):
            self._post("experiments/set-experiment-tag", {"experiment_id": experiment_id, **pair})

    def move_experiment(self, experiment_id: str, *, deleted: bool) -> None:
        """See ``Target``."""
        try:
            self._post(f"experiments/{'delete' if deleted else 'restore'}", {"experiment_id": experiment_id})
        except NotFound:  # it is in that stage already, if this was sent before
            found = experiment_of(self._get("experiments/get", experiment_id=experiment_id)["experiment"])
            if found.deleted != deleted:
                raise

    def add_run(self, run: Run, *, key: str) -> str:
        """See ``Target``."""
        body = {
            "experiment_id": run.experiment_id,
            "user_id": run.user,
            "run_name": run.name,
            "start_time": run.start,
            "tags": pairs(run.tags),
        }
        return str(self._made("runs/create", body, key)["run"]["info"]["run_id"])

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[tuple[str, ModelPoint]] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See ``Target``."""
        metrics = [
            {
                "key": p.key, "value": said(p.point.value), "timestamp": p.point.timestamp, "step": p.point.step,
                "model_id": model, "dataset_name": p.dataset_name, "dataset_digest": p.dataset_digest,
            }
            for model, p in points
        ]  # fmt: skip
        told = [{k: v for k, v in metric.items() if v != ""} for metric in metrics]
        body = {"run_id": run_id, "metrics": told, "params": pairs(params or {}), "tags": pairs(tags or {})}
        self._post("runs/log-batch", body)

    def link(
        self,
        run_id: str,
        *,
        datasets: Sequence[DatasetInput] = (),
        inputs: Sequence[str] = (),
        outputs: Sequence[tuple[str, int]] = (),
    ) -> None:
        """See ``Target``."""
        for dataset in datasets:  # one by one: a profile may be as large as a request
            about = {name: getattr(dataset, name) for name in ("name", "digest", "source_type", "source", "schema")}
            told = {"dataset": {**about, "profile": dataset.profile}, "tags": pairs(dict(dataset.tags))}
            self._post("runs/log-inputs", {"run_id": run_id, "datasets": [told]})
        if inputs:
            self._post("runs/log-inputs", {"run_id": run_id, "models": [{"model_id": i} for i in inputs]})
        if outputs:
            models = [{"model_id": identity, "step": step} for identity, step in outputs]
            self._post("runs/outputs", {"run_id": run_id, "models": models})

    def close_run(self, run_id: str, status: str, end: int | None) -> None:
        """See ``Target``."""
        body = {"run_id": run_id, "status": status} | ({} if end is None else {"end_time": end})
        self._post("runs/update", body)

    def move_run(self, run_id: str, *, deleted: bool) -> None:
        """See ``Target``."""
        self._post(f"runs/{'delete' if deleted else 'restore'}", {"run_id": run_id})

    def add_logged_model(self, model: LoggedModel, *, key: str) -> str:
        """See ``Target``."""
        body = {
            "experiment_id": model.experiment_id,
            "name": model.name,
            "model_type": model.model_type,
            "source_run_id": model.run_id,
            "tags": pairs(model.tags),
        }
        return str(self._made("logged-models", body, key)["model"]["info"]["model_id"])

    def describe_logged_model(
        self, model_id: str, *, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """See ``Target``."""
        if params:
            self._post(f"logged-models/{model_id}/params", {"params": pairs(params)})
        if tags:
            self._send("PATCH", f"{_API}/logged-models/{model_id}/tags", body={"tags": pairs(tags)})

    def finish_logged_model(self, model_id: str, status: str) -> None:
        """See ``Target``."""
        self._send("PATCH", f"{_API}/logged-models/{model_id}", body={"status": f"LOGGED_MODEL_{status}"})

    def put(self, uri: str, path: str, file: Path) -> None:
        """See ``Target``."""
        whole = f"{_path(uri)}/{path}"
        parent, _, name = whole.rpartition("/")

        def ask(step: str, body: Mapping[str, Any]) -> Any:
            return self._send("POST", f"{_FILES}/mpu/{step}/{quote(parent)}", body={"path": name, **body})

        bucket.upload(file, ask)

    def add_registered_model(self, model: RegisteredModel) -> None:
        """See ``Target``."""
        body = {"name": model.name, "description": model.description, "tags": pairs(model.tags)}
        self._post("registered-models/create", body, uuid4().hex)

    def describe_registered_model(self, name: str, description: str, tags: Mapping[str, str]) -> None:
        """See ``Target``."""
        self._send("PATCH", f"{_API}/registered-models/update", body={"name": name, "description": description})
        for pair in pairs(tags):
            self._post("registered-models/set-tag", {"name": name, **pair})

    def add_version(self, version: Version) -> int:
        """See ``Target``."""
        body = {
            "name": version.model, "number": version.number, "source": version.source, "run_id": version.run_id,
            "run_link": version.run_link, "model_id": version.model_id, "description": version.description,
            "tags": pairs(version.tags),
        }  # fmt: skip
        return int(self._post("model-versions/create", body, uuid4().hex)["model_version"]["version"])

    def describe_version(self, model: str, number: int, description: str, tags: Mapping[str, str]) -> None:
        """See ``Target``."""
        named = {"name": model, "version": str(number)}
        self._send("PATCH", f"{_API}/model-versions/update", body={**named, "description": description})
        for pair in pairs(tags):
            self._post("model-versions/set-tag", {**named, **pair})

    def drop_version(self, model: str, number: int) -> None:
        """See ``Target``."""
        with suppress(NotFound):  # sent before
            self._send("DELETE", f"{_API}/model-versions/delete", body={"name": model, "version": str(number)})

    def stage_version(self, model: str, number: int, stage: str) -> None:
        """See ``Target``."""
        self._post("model-versions/transition-stage", {"name": model, "version": str(number), "stage": stage})

    def set_alias(self, model: str, alias: str, number: int) -> None:
        """See ``Target``."""
        self._post("registered-models/alias", {"name": model, "alias": alias, "version": str(number)})

    # --- private --------------------------------------------------------------------------

    def _runs(self, experiment_id: str, only: str) -> Iterator[Run]:
        body = {
            "experiment_ids": [experiment_id], "filter": only, "run_view_type": "ALL", "max_results": _PAGE,
        }  # fmt: skip
        return (run_of(r) for r in self._pages("POST", "runs/search", "runs", body))

    def _pages(self, method: str, path: str, kind: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            told = {**asked, "page_token": token} if token else asked
            options = {"query": told} if method == "GET" else {"body": told}
            answer = self._send(method, path if path.startswith("/") else f"{_API}/{path}", **options)
            yield from answer.get(kind, ())
            if not (token := answer.get("next_page_token", "")):
                return

    def _get(self, path: str, **query: str) -> Any:
        return self._send("GET", f"{_API}/{path}", query=query)

    def _post(self, path: str, body: Mapping[str, Any], key: str = "") -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self._send("POST", f"{_API}/{path}", body=body, headers=headers)

    def _made(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """Make something under a key; where what was made under it was removed for good since, under a fresh one."""
        try:
            return self._post(path, body, key)
        except (Conflict, NotFound):
            return self._post(path, body, uuid4().hex)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Return the answer to a request of our own API that may come twice; see ``client.Api.send``."""
        return self._send(method, path, **options)

    def _send(self, method: str, path: str, **options: Any) -> Any:
        for pause in self._pauses_s:
            try:
                return self._api.send(method, path, **options)
            except Unavailable:
                time.sleep(pause)
        return self._api.send(method, path, **options)

    @property
    def _api(self) -> Api:
        """This thread's own connection."""
        if not hasattr(self._mine, "api"):
            self._mine.api = Api(self.name, self._token)
        api: Api = self._mine.api
        return api


def _path(uri: str) -> str:
    if not uri.startswith(_SCHEME):
        raise NotFound(f"the files of {uri} do not lie in this platform's bucket")
    return uri.removeprefix(_SCHEME).strip("/")
