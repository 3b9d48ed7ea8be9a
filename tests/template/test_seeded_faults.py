"""Edits of the template that must not go unnoticed: each is made to a copy, and the checks must name it."""

from copy import deepcopy
from typing import Any

import pytest

from template import checks
from template.stack import FUNCTION, Stack, Template, listed, target, the_template

ORIGINAL = Stack.of(the_template())
FUNCTIONS = sorted(ORIGINAL.functions)
RULES = [(identity, name) for identity, name, _ in ORIGINAL.rules()]


def edited() -> Template:
    return deepcopy(ORIGINAL.template)


def told(template: Template) -> list[str]:
    """Return what the checks say of an edited template."""
    return checks.faults(Stack(template, ORIGINAL.translated))


def properties(template: Template, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][identity]["Properties"]
    return found


def event(template: Template, identity: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = properties(template, identity)["Events"][name]["Properties"]
    return found


def assert_named(faults: list[str], *words: str) -> None:
    assert any(all(word in fault for word in words) for fault in faults), f"{words} not in {faults}"


def test_the_template_itself_has_no_fault() -> None:
    assert told(edited()) == []


STATEMENTS = [
    (identity, number)
    for identity in FUNCTIONS
    for number in range(len(ORIGINAL.functions[identity]["Policies"][0]["Statement"]))
]


@pytest.mark.parametrize(("identity", "number"), STATEMENTS)
def test_a_removed_policy_statement(identity: str, number: int) -> None:
    template = edited()
    gone = properties(template, identity)["Policies"][0]["Statement"].pop(number)
    gone = gone["Fn::If"][1] if "Fn::If" in gone else gone
    faults = checks.grants(Stack(template, ORIGINAL.translated))
    assert_named(faults, f"{identity} may no longer {listed(gone['Action'])[0]} on ")


@pytest.mark.parametrize(("identity", "name"), RULES)
def test_a_typo_in_an_event_pattern(identity: str, name: str) -> None:
    template = edited()
    pattern = event(template, identity, name)["Pattern"]
    pattern["detail-type"][0] += "x"
    assert_named(told(template), f"the rule {name} of {identity}", f"{pattern['detail-type'][0]}, which is no event")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("source", ["modelwrite"], "listens to the source"),
        ("detailtype", ["TrainingCompleted"], "matches on detailtype"),
    ],
)
def test_a_typo_elsewhere_in_a_pattern(key: str, value: list[str], words: str) -> None:
    template = edited()
    event(template, "TrackingFunction", "Happened")["Pattern"][key] = value
    assert_named(told(template), "the rule Happened of TrackingFunction", words)


def test_a_typo_in_the_name_of_a_schedule() -> None:
    template = edited()
    event(template, "AnchorFunction", "Due")["Pattern"]["detail"]["name"] = ["ancor"]
    faults = told(template)
    assert_named(faults, "AnchorFunction waits for the schedule anchor, but no rule brings it")
    assert_named(faults, "no schedule sends ancor")


@pytest.mark.parametrize(("identity", "name"), RULES)
def test_a_removed_rule(identity: str, name: str) -> None:
    template = edited()
    del properties(template, identity)["Events"][name]
    faults = told(template)
    assert any(
        identity in fault and ("no rule brings it" in fault or "rules say otherwise" in fault) for fault in faults
    )


def test_a_rule_on_another_bus() -> None:
    template = edited()
    del event(template, "RetrainFunction", "Happened")["EventBusName"]
    assert_named(told(template), "the rule Happened of RetrainFunction listens to another bus")


VARIABLES = [(i, name) for i in FUNCTIONS for name in ORIGINAL.functions[i].get("Environment", {}).get("Variables", {})]


@pytest.mark.parametrize(("identity", "name"), VARIABLES)
def test_a_wrong_environment_name(identity: str, name: str) -> None:
    template = edited()
    variables = properties(template, identity)["Environment"]["Variables"]
    variables[f"{name}S"] = variables.pop(name)
    faults = checks.environment(Stack(template, ORIGINAL.translated))
    assert_named(faults, f"{identity} is given {name}S, which its code never reads")


def test_an_environment_name_with_another_things_value() -> None:
    template = edited()
    properties(template, "RolloutFunction")["Environment"]["Variables"]["MODELWRIGHT_TABLE_ROLLOUT"] = {
        "Ref": "LogTable"
    }
    faults = told(template)
    assert_named(faults, "RolloutFunction is given LogTable as MODELWRIGHT_TABLE_ROLLOUT")
    assert_named(faults, "RolloutFunction may use RolloutTable but its environment does not name it")


def test_an_environment_name_that_is_missing() -> None:
    template = edited()
    del properties(template, "RetrainFunction")["Environment"]["Variables"]["MODELWRIGHT_TRAIN_FUNCTION"]
    del properties(template, "RetrainFunction")["Environment"]["Variables"]["MODELWRIGHT_TABLE_RETRAINING"]
    faults = told(template)
    assert_named(faults, "RetrainFunction reads MODELWRIGHT_TRAIN_FUNCTION, which is not set")
    assert_named(faults, "RetrainFunction writes the table of MODELWRIGHT_TABLE_RETRAINING, which is not set")


@pytest.mark.parametrize("identity", FUNCTIONS)
def test_a_removed_dead_letter_queue_of_a_function(identity: str) -> None:
    template = edited()
    del properties(template, identity)["DeadLetterQueue"]
    assert_named(told(template), f"{identity} has no dead-letter queue")


@pytest.mark.parametrize(("identity", "name"), RULES)
def test_a_removed_dead_letter_queue_of_a_rule(identity: str, name: str) -> None:
    template = edited()
    del event(template, identity, name)["DeadLetterConfig"]
    assert_named(told(template), f"the rule {name} of {identity} has no dead-letter queue")


def test_a_removed_dead_letter_queue_of_the_stream() -> None:
    template = edited()
    del event(template, "PublishFunction", "Log")["DestinationConfig"]
    assert_named(told(template), "the stream mapping Log of PublishFunction has no dead-letter queue")


@pytest.mark.parametrize("queue", sorted(ORIGINAL.of_type("AWS::SQS::Queue")))
def test_a_removed_queue(queue: str) -> None:
    template = edited()
    del template["Resources"][queue]
    assert_named(told(template), f"{queue.removesuffix('DeadLetters')}Function has no dead-letter queue")


def test_a_queue_that_rules_may_not_write_to() -> None:
    template = edited()
    statement = properties(template, "DeadLettersPolicy")["PolicyDocument"]["Statement"][0]
    statement["Resource"] = statement["Resource"][1:]
    assert_named(told(template), "rules may not send to TrackingDeadLetters")


@pytest.mark.parametrize("identity", FUNCTIONS)
@pytest.mark.parametrize("action", ["*", "dynamodb:*", "dynamodb:Put*"])
def test_a_wildcard_action(identity: str, action: str) -> None:
    template = edited()
    statement = properties(template, identity)["Policies"][0]["Statement"][0]
    statement["Action"] = [*statement["Action"], action]
    faults = checks.wildcards(Stack(template, ORIGINAL.translated))
    assert faults == [f"the statement {statement['Sid']} of {identity} allows the wildcard action {action}"]


@pytest.mark.parametrize("resource", ["*", {"Fn::Sub": "arn:${AWS::Partition}:dynamodb:*:*:table/*"}], ids=str)
def test_a_wildcard_resource(resource: Any) -> None:
    template = edited()
    properties(template, "AnchorFunction")["Policies"][0]["Statement"][0]["Resource"] = resource
    assert_named(told(template), "the statement AppendToTheLog of AnchorFunction is about the wildcard resource")


def test_a_grant_on_what_is_not_the_functions() -> None:
    template = edited()
    statement = properties(template, "PredictFunction")["Policies"][0]["Statement"][0]
    statement["Resource"] = [{"Fn::GetAtt": ["LogTable", "Arn"]}, {"Fn::GetAtt": ["RegistryTable", "Arn"]}]
    faults = told(template)
    assert_named(faults, "PredictFunction may use RegistryTable but its environment does not name it")
    assert_named(faults, "PredictFunction may dynamodb:", "on RegistryTable, which it could not before")


PERMISSIONS = sorted(ORIGINAL.of_type("AWS::Lambda::Permission", translated=True))


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_permission_removed_after_translation(permission: str) -> None:
    translated = deepcopy(ORIGINAL.translated)
    gone = translated["Resources"].pop(permission)["Properties"]
    faults = checks.invocations(Stack(ORIGINAL.template, translated))
    assert_named(faults, "may not invoke", target(gone["FunctionName"]), "there is no Lambda::Permission")


def test_a_role_that_somebody_else_can_assume() -> None:
    translated = deepcopy(ORIGINAL.translated)
    roles = translated["Resources"]
    roles["TrainFunctionRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] = {"AWS": "*"}
    del roles["SchedulesRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    faults = checks.trust(Stack(ORIGINAL.template, translated))
    assert_named(faults, "TrainFunctionRole can be assumed by")
    assert_named(faults, "SchedulesRole can be assumed by schedules of other accounts")


def test_a_stream_that_may_not_be_read_or_does_not_exist() -> None:
    template, translated = edited(), deepcopy(ORIGINAL.translated)
    del properties(template, "LogTable")["StreamSpecification"]
    translated["Resources"]["PublishFunctionRole"]["Properties"]["ManagedPolicyArns"] = []
    faults = checks.streams(Stack(template, translated))
    assert_named(faults, "LogTable has no stream")
    assert_named(faults, "PublishFunction may not read the stream of LogTable")


def test_a_schedule_that_nobody_hears() -> None:
    template = edited()
    properties(template, "SweepSchedule")["Target"]["Arn"] = {"Fn::GetAtt": ["AuditBucket", "Arn"]}
    properties(template, "AnchorSchedule")["Target"]["EventBridgeParameters"]["DetailType"] = "Scheduled"
    properties(template, "RolloutSchedule")["Target"]["Input"] = '{"name": "rolout", "at": "2026-01-01T00:00:00Z"}'
    properties(template, "SchedulesRole")["Policies"] = []
    faults = told(template)
    assert_named(faults, "SweepSchedule sends to AuditBucket")
    assert_named(faults, "AnchorSchedule does not send ScheduleDue")
    assert_named(faults, "nobody waits for the schedule rolout")
    assert_named(faults, "no schedule sends rollout")
    assert_named(faults, "the role of RetrainSchedule may not put events")


def test_a_removed_or_misspelt_route() -> None:
    template = edited()
    del properties(template, "PredictFunction")["Events"]["Http"]
    event(template, "ConsoleFunction", "Http5")["Path"] = "/v1/statu"
    faults = told(template)
    assert_named(faults, "no API leads to POST /v1/predict/<model> of PredictFunction")
    assert_named(faults, "leads GET /v1/statu to ConsoleFunction, which has no such route")


def test_a_door_that_stands_open() -> None:
    template = edited()
    event(template, "PredictFunction", "Http")["Auth"] = {"Authorizer": "NONE"}
    assert_named(told(template), "lets callers without a token to POST /v1/predict/<model>")


@pytest.mark.parametrize("identity", FUNCTIONS)
def test_what_operation_needs(identity: str) -> None:
    template = edited()
    for name in ("LoggingConfig", "Timeout", "MemorySize"):
        del properties(template, identity)[name]
    del template["Globals"]["Function"]["Tracing"]
    faults = checks.operation(Stack(template, ORIGINAL.translated))
    for words in ("logs where nothing limits", "has no Timeout", "has no MemorySize", "is not traced"):
        assert_named(faults, identity, words)


def test_a_table_that_dies_with_the_stack() -> None:
    template = edited()
    del template["Resources"]["LogTable"]["DeletionPolicy"]
    del properties(template, "LakeBucket")["PublicAccessBlockConfiguration"]
    faults = told(template)
    assert "LogTable is deleted with the stack" in faults
    assert "LakeBucket has no PublicAccessBlockConfiguration" in faults


def test_every_function_was_edited() -> None:
    assert len(FUNCTIONS) == sum(r["Type"] == FUNCTION for r in ORIGINAL.template["Resources"].values()) == 17
