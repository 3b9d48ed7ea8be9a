from support.http import payload
from support.mlflow_desk import API, Desk, sample

from modelwright.governance.access import Grant

INVALID, LONG = "INVALID_PARAMETER_VALUE", "v" * 20_001


def test_the_default_experiment_exists_from_the_first_question(desk: Desk) -> None:
    found = desk.tracking.ok("GET", f"{API}/experiments/get?experiment_id=0")["experiment"]
    assert (found["name"], found["artifact_location"]) == ("Default", "mlflow-artifacts:/0")
    assert desk.tracking.ok("GET", f"{API}/experiments/get-by-name?experiment_name=Default")["experiment"] == found
    assert desk.types("EXPERIMENT", "0") == ["ExperimentCreated"]


def test_a_sample_payload_makes_an_experiment(desk: Desk) -> None:
    answer = desk.functions["tracking"](sample("http-tracking.json"))
    assert answer["statusCode"] == 200
    found = desk.tracking.ok("GET", f"{API}/experiments/get-by-name?experiment_name=churn")["experiment"]
    assert found["tags"] == [{"key": "team", "value": "growth"}]


def test_a_name_is_taken_once_even_by_a_deleted_experiment(desk: Desk) -> None:
    first = desk.experiment("churn")
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": first})
    status, said = desk.tracking("POST", f"{API}/experiments/create", {"name": "churn"})
    assert (status, said["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
    found = desk.tracking.ok("GET", f"{API}/experiments/get-by-name?experiment_name=churn")["experiment"]
    assert found["lifecycle_stage"] == "deleted"


def test_a_renamed_experiment_frees_its_name(desk: Desk) -> None:
    first = desk.experiment("churn")
    desk.tracking.ok("POST", f"{API}/experiments/update", {"experiment_id": first, "new_name": "attrition"})
    second = desk.experiment("churn")
    assert second != first
    status, _ = desk.tracking("POST", f"{API}/experiments/update", {"experiment_id": second, "new_name": "attrition"})
    assert status == 400
    assert desk.types("EXPERIMENT", first) == ["ExperimentCreated", "ExperimentChanged"]


def test_runs_share_their_experiments_fate(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment)
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": experiment})
    assert desk.get_run(run)["info"]["lifecycle_stage"] == "deleted"
    status, said = desk.tracking("POST", f"{API}/runs/create", {"experiment_id": experiment})
    assert (status, said["error_code"]) == (400, INVALID)
    assert desk.tracking("POST", f"{API}/experiments/delete", {"experiment_id": experiment})[0] == 404
    desk.tracking.ok("POST", f"{API}/experiments/restore", {"experiment_id": experiment})
    assert desk.get_run(run)["info"]["lifecycle_stage"] == "active"


def test_experiments_are_found_by_name_tag_and_stage(desk: Desk) -> None:
    first, second = desk.experiment("churn"), desk.experiment("fraud")
    desk.tracking.ok(
        "POST", f"{API}/experiments/set-experiment-tag", {"experiment_id": first, "key": "team", "value": "x"}
    )
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": second})

    def search(**what: object) -> list[str]:
        found = desk.tracking.ok("POST", f"{API}/experiments/search", what)
        return [e["name"] for e in found["experiments"]]

    assert search(filter="name LIKE 'ch%'") == ["churn"]
    assert search(filter="tags.team = 'x'") == ["churn"]
    assert search(filter="tags.`team` IS NULL") == ["Default"]
    assert search(view_type="DELETED_ONLY") == ["fraud"]
    assert search(order_by=["name DESC"], view_type="ALL") == ["fraud", "churn", "Default"]
    desk.tracking.ok("POST", f"{API}/experiments/delete-experiment-tag", {"experiment_id": first, "key": "team"})
    assert search(filter="tags.team = 'x'") == []


def test_experiments_come_in_pages(desk: Desk) -> None:
    for number in range(5):
        desk.experiment(f"e{number}")
    first = desk.tracking.ok("GET", f"{API}/experiments/search?max_results=4&order_by=name")
    second = desk.tracking.ok(
        "GET", f"{API}/experiments/search?max_results=4&order_by=name&page_token={first['next_page_token']}"
    )
    assert [e["name"] for e in first["experiments"] + second["experiments"]] == [
        "Default",
        "e0",
        "e1",
        "e2",
        "e3",
        "e4",
    ]
    assert "next_page_token" not in second
    assert desk.tracking("GET", f"{API}/experiments/search?page_token=rubbish")[0] == 400


def test_what_is_wrong_is_refused_with_mlflows_codes(desk: Desk) -> None:
    cases = [
        ("GET", "experiments/get?experiment_id=abc", None, 400, INVALID),
        ("GET", "experiments/get?experiment_id=77", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "experiments/get-by-name?experiment_name=nobody", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "experiments/create", {"name": " "}, 400, INVALID),
        ("POST", "experiments/create", {"name": "x" * 501}, 400, INVALID),
        ("POST", "experiments/create", {}, 400, INVALID),
        ("POST", "experiments/create", {"name": "a", "artifact_location": "s3://b#c"}, 400, INVALID),
        ("POST", "experiments/create", {"name": "a", "artifact_location": "s3://b?c=.."}, 400, INVALID),
        ("POST", "experiments/create", {"name": "a", "artifact_location": "mlflow-artifacts:/../b"}, 400, INVALID),
        ("POST", "experiments/create", {"name": "a", "artifact_location": "s3://" + "b" * 2048}, 400, INVALID),
        ("POST", "experiments/create", {"name": "a", "tags": [{"key": "k", "value": LONG}]}, 400, INVALID),
        (
            "POST",
            "experiments/set-experiment-tag",
            {"experiment_id": "0", "key": "k", "value": "v" * 20_001},
            400,
            INVALID,
        ),
        ("POST", "experiments/update", {"experiment_id": "0"}, 400, INVALID),
        ("POST", "experiments/update", {"experiment_id": "0", "new_name": ""}, 400, INVALID),
        ("POST", "experiments/search", {"max_results": 0}, 400, INVALID),
        ("POST", "scorers/register", {}, 404, "ENDPOINT_NOT_FOUND"),
    ]
    for method, path, body, status, code in cases:
        answered, said = desk.tracking(method, f"{API}/{path}", body)
        assert (answered, said["error_code"]) == (status, code), path


def test_all_prefixes_and_versions_are_served_and_no_others(desk: Desk) -> None:
    for prefix in ("/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0"):
        assert desk.tracking("GET", f"{prefix}/mlflow/experiments/get?experiment_id=0")[0] == 200
    assert desk.tracking("GET", "/api/9.9/mlflow/experiments/get?experiment_id=0")[0] == 404


def test_a_token_is_needed_but_for_the_server_info(desk: Desk) -> None:
    anonymous = desk.functions["tracking"](payload("GET", f"{API}/experiments/get?experiment_id=0", signed_in=False))
    assert anonymous["statusCode"] == 401
    info = desk.functions["tracking"](payload("GET", "/api/3.0/mlflow/server-info", signed_in=False))
    assert (info["statusCode"], '"artifacts_presigned_only": true' in info["body"]) == (200, True)


def test_a_grant_on_one_experiment_opens_that_one_alone(desk: Desk) -> None:
    mine, other = desk.experiment("mine"), desk.experiment("other")
    guest = desk.as_caller("tracking", grants=(Grant(role="contributor", resources=f"experiment/{mine}"),))
    assert guest("POST", f"{API}/runs/create", {"experiment_id": mine})[0] == 200
    assert guest("POST", f"{API}/runs/create", {"experiment_id": other})[0] == 403
    assert guest("GET", f"{API}/experiments/get?experiment_id={other}")[0] == 403
    assert [e["name"] for e in guest.ok("POST", f"{API}/experiments/search", {})["experiments"]] == ["mine"]


def test_another_workspace_sees_nothing(desk: Desk) -> None:
    experiment = desk.experiment("secret")
    run = desk.run(experiment)
    stranger = desk.as_caller("tracking", workspace="other")
    assert stranger("GET", f"{API}/runs/get?run_id={run}")[0] == 404
    assert stranger("GET", f"{API}/experiments/get?experiment_id={experiment}")[0] == 404
    assert stranger("GET", f"{API}/experiments/get-by-name?experiment_name=secret")[0] == 404
    assert stranger.ok("POST", f"{API}/runs/search", {"experiment_ids": [experiment]})["runs"] == []
