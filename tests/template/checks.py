"""What must be true of the template: each check returns its faults as sentences, none when all is well."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from modelwright.events import SOURCE, ScheduleDue, kinds
from modelwright.http import Route
from modelwright.runtime import Function
from modelwright.storage import BucketName, TableName
from modelwright.wiring import Settings
from template.stack import ROOT, Resource, Stack, handlers, listed, modules_of, target

Faults = list[str]
TABLES, BUCKETS = get_args(TableName), get_args(BucketName)
GRANTS = ROOT / "tests" / "template" / "grants.txt"
TABLE_PREFIX, BUCKET_PREFIX = "MODELWRIGHT_TABLE_", "MODELWRIGHT_BUCKET_"
SCHEDULES = f"{SOURCE}.schedule"
API_LIMIT_S = 30
DEFAULT_ROUTE, EVERYTHING = "$default", "<path:path>"
"""The API's route for what no other takes, and that of the handler which answers it."""

WIDE: dict[tuple[str, str], str] = {
    ("NotifyFunction", "MeasureFunctions"): "CloudWatch grants the reading of metrics for all or for none",
    (
        "NotifyFunction",
        "SendMail",
    ): "any verified identity of the account may hold the sender, which the condition names",
}
"""(function, Sid) -> why its statement must be about everything."""

MANAGED = {
    "AWSLambdaBasicExecutionRole": "writes to the log group; SAM adds it to every function",
    "AWSXrayWriteOnlyAccess": "traces; SAM adds it where tracing is on",
    "AWSLambdaDynamoDBExecutionRole": "reads the log's stream; SAM adds it for a stream mapping",
}

BY_PLUGIN = {"MODELWRIGHT_TRAIN_STATE_MACHINE": "only read by the trainer `stepfunctions`, for which a team adds it"}
"""Names that code reads and this template does not set."""

BY_LIBRARIES = {
    "POWERTOOLS_LOG_LEVEL": "powertools' logger",
    "OMP_NUM_THREADS": "OpenMP, under scikit-learn",
    "OMP_WAIT_POLICY": "OpenMP, under scikit-learn",
}
"""Names that this template sets and libraries read."""


# --- dead letters ------------------------------------------------------------------------


def dead_letters(stack: Stack) -> Faults:
    """Whatever is asynchronous has a queue for what failed, and may write to it."""
    queues = set(stack.of_type("AWS::SQS::Queue"))
    faults = []
    for identity, properties in stack.functions.items():
        if target(properties.get("DeadLetterQueue", {}).get("TargetArn", "")) not in queues:
            faults.append(f"{identity} has no dead-letter queue")
        for name, stream in stack.triggers(identity, "DynamoDB").items():
            destination = stream.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", "")
            if target(destination) not in queues:
                faults.append(f"the stream mapping {name} of {identity} has no dead-letter queue")
    allowed = {
        target(resource)
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"} and "sqs:SendMessage" in statement["Action"]
        for resource in listed(statement["Resource"])
    }
    for identity, name, rule in stack.rules():
        queue = target(rule.get("DeadLetterConfig", {}).get("Arn", ""))
        if queue not in queues:
            faults.append(f"the rule {name} of {identity} has no dead-letter queue")
        elif queue not in allowed:
            faults.append(f"rules may not send to {queue}, the dead-letter queue of the rule {name} of {identity}")
    return faults


# --- permissions -------------------------------------------------------------------------


def wildcards(stack: Stack) -> Faults:
    """No policy allows every action or every resource without a reason."""
    faults = []
    for where, sid, statement in _statements(stack):
        faults += [
            f"the statement {sid} of {where} allows the wildcard action {action}"
            for action in listed(statement.get("Action", "*"))
            if "*" in action or "?" in action
        ]
        faults += [
            f"the statement {sid} of {where} is about the wildcard resource {target(resource)} without a listed reason"
            for resource in listed(statement.get("Resource", "*"))
            if target(resource).split("/")[0].split(":")[0] in ("*", "arn") and (where, sid) not in WIDE
        ]
        faults += [
            f"the statement {sid} of {where} uses {word}" for word in ("NotAction", "NotResource") if word in statement
        ]
    return faults


def managed_policies(stack: Stack) -> Faults:
    """Roles carry no managed policy but those that SAM adds."""
    return [
        f"{role} carries the managed policy {arn} without a listed reason"
        for role, properties in stack.of_type("AWS::IAM::Role", translated=True).items()
        for arn in properties.get("ManagedPolicyArns", [])
        if target(arn).rsplit("/", 1)[-1] not in MANAGED
    ]


def grants(stack: Stack) -> Faults:
    """Each function may do what ``grants.txt`` says, neither more nor less."""
    wanted, actual = _written_grants(), granted(stack)
    faults = [f"{f} may no longer {action} on {where}" for f, action, where in sorted(wanted - actual)]
    faults += [
        f"{f} may {action} on {where}, which it could not before" for f, action, where in sorted(actual - wanted)
    ]
    return faults


def granted(stack: Stack) -> set[tuple[str, str, str]]:
    """Return (function, action, where) of all functions' policies."""
    return {(f, action, where) for f in stack.functions for action, where in stack.grants(f)}


def environment_and_policy(stack: Stack) -> Faults:
    """A function may use the tables, buckets, bus and functions that its environment names, and no others."""
    faults = []
    for identity in stack.functions:
        given = {
            target(value): name
            for name, value in stack.environment(identity).items()
            if isinstance(value, Mapping) and target(value) in stack.template["Resources"]
        }
        allowed = {where.split("/")[0] for _, where in stack.grants(identity)}
        faults += [
            f"{identity} is given {given[r]} but no policy lets it use {r}" for r in sorted(set(given) - allowed)
        ]
        faults += [
            f"{identity} may use {r} but its environment does not name it"
            for r in sorted((allowed & set(stack.template["Resources"])) - set(given))
        ]
    return faults


def needed_by_code(stack: Stack) -> Faults:
    """Who has a table of its own may write it and the log; who answers people may find out who they are."""
    faults = []
    for identity, function in handlers(stack).items():
        may = stack.grants(identity)
        needs = _needs(function)
        faults += [f"{identity} may not {action} on {where}" for action, where in sorted(needs - may)]
    return faults


def _needs(function: Function) -> set[tuple[str, str]]:
    if function.table is None or not (function.consumers or function.schedules):
        return set()
    own = f"{function.table.capitalize()}Table"
    return {(f"dynamodb:{a}", where) for where in (own, "LogTable") for a in ("PutItem", "Query")}


# --- environment -------------------------------------------------------------------------


def environment(stack: Stack) -> Faults:
    """Every name that is set is read, and every name that is read is set."""
    faults = []
    for identity, function in handlers(stack).items():
        variables = stack.environment(identity)
        known = _known_names(stack.names[identity])
        faults += [
            f"{identity} is given {name}, which its code never reads"
            for name in sorted(set(variables) - known - set(BY_LIBRARIES))
        ]
        unset = {name for name in known if not name.startswith((TABLE_PREFIX, BUCKET_PREFIX))}
        faults += [
            f"{identity} reads {name}, which is not set" for name in sorted(unset - set(variables) - set(BY_PLUGIN))
        ]
        faults += _misnamed(identity, variables)
        wanted = {f"{TABLE_PREFIX}{table.upper()}" for table in ((function.table, "log") if function.table else ())}
        faults += [
            f"{identity} writes the table of {name}, which is not set" for name in sorted(wanted - set(variables))
        ]
    return faults


@cache
def _known_names(name: str) -> set[str]:
    """Return the names that a function's code reads; ``Settings`` reads all tables and buckets there are."""
    known = {f"{TABLE_PREFIX}{table.upper()}" for table in TABLES}
    known |= {f"{BUCKET_PREFIX}{bucket.upper()}" for bucket in BUCKETS}
    text = "\n".join(path.read_text(encoding="utf-8") for path in modules_of(name))
    known |= set(re.findall(r"\"(MODELWRIGHT_[A-Z_]*[A-Z])\"", text))
    uses_bus = "settings.bus" in text.replace('"bus"', "")
    return known if uses_bus else known - {"MODELWRIGHT_BUS"}


def _misnamed(identity: str, variables: Mapping[str, Any]) -> Iterator[str]:
    for prefix, suffix, names in ((TABLE_PREFIX, "Table", TABLES), (BUCKET_PREFIX, "Bucket", BUCKETS)):
        for name, value in variables.items():
            thing = name.removeprefix(prefix).lower()
            if name.startswith(prefix) and thing in names and target(value) != f"{thing.capitalize()}{suffix}":
                yield f"{identity} is given {target(value)} as {name}"
    example = dict.fromkeys(variables, "x")
    try:
        Settings.read(example)
    except ValueError as error:
        yield f"{identity} cannot read its environment: {str(error).splitlines()[1]}"


# --- events ------------------------------------------------------------------------------


def event_patterns(stack: Stack) -> Faults:
    """Rules name events that exist, on the bus where they happen."""
    faults = []
    for identity, name, rule in stack.rules():
        pattern, where = rule["Pattern"], f"the rule {name} of {identity}"
        source = pattern.get("source")
        if source not in ([SOURCE], [SCHEDULES], ["aws.s3"]):
            faults.append(f"{where} listens to the source {source}, where nothing of ours comes from")
        if source != ["aws.s3"] and target(rule.get("EventBusName", "")) != "Bus":
            faults.append(f"{where} listens to another bus than ours")
        if unknown := set(pattern) - {"source", "detail-type", "detail"}:
            faults.append(f"{where} matches on {', '.join(sorted(unknown))}, which our events do not have")
        known = {SOURCE: set(kinds()), SCHEDULES: {"ScheduleDue"}, "aws.s3": {"Object Created"}}
        types = pattern.get("detail-type") or ["(everything)"]
        expected = known.get((source or [""])[0], set())
        faults += [
            f"{where} waits for {kind}, which is no event of modelwright.events"
            for kind in types
            if kind not in expected
        ]
    return faults


def consumers(stack: Stack) -> Faults:
    """What a handler consumes a rule brings, and the reverse."""
    faults = []
    for identity, function in handlers(stack).items():
        brought: dict[str, set[str]] = {SOURCE: set(), SCHEDULES: set(), "aws.s3": set()}
        for rule in stack.triggers(identity, "EventBridgeRule").values():
            source = (rule["Pattern"].get("source") or [""])[0]
            names = rule["Pattern"].get("detail", {}).get("name") or rule["Pattern"].get("detail-type", [])
            brought.setdefault(source, set()).update(names if source == SCHEDULES else rule["Pattern"]["detail-type"])
        taken = {kind.detail_type() for kind in function.consumers}
        faults += [f"{identity} consumes {kind}, but no rule brings it" for kind in sorted(taken - brought[SOURCE])]
        faults += [
            f"a rule brings {kind} to {identity}, which does not consume it" for kind in sorted(brought[SOURCE] - taken)
        ]
        due = set(function.schedules)
        faults += [
            f"{identity} waits for the schedule {name}, but no rule brings it"
            for name in sorted(due - brought[SCHEDULES])
        ]
        faults += [
            f"a rule brings the schedule {name} to {identity}, which does nothing then"
            for name in sorted(brought[SCHEDULES] - due)
        ]
        takes_uploads = function._uploads is not None
        if takes_uploads != bool(brought["aws.s3"]):
            faults.append(
                f"{identity} {'takes' if takes_uploads else 'does not take'} uploads, its rules say otherwise"
            )
    return faults


def schedules(stack: Stack) -> Faults:
    """Each schedule puts a ``ScheduleDue`` that somebody waits for on the bus, with a role that may."""
    sent, faults = set(), []
    roles = stack.of_type("AWS::IAM::Role")
    for name, schedule in stack.of_type("AWS::Scheduler::Schedule").items():
        to = schedule["Target"]
        if target(to["Arn"]) != "Bus":
            faults.append(f"{name} sends to {target(to['Arn'])}, not to our bus")
        if to.get("EventBridgeParameters") != {"DetailType": "ScheduleDue", "Source": SCHEDULES}:
            faults.append(f"{name} does not send ScheduleDue from {SCHEDULES}")
        text = to["Input"].replace("<aws.scheduler.scheduled-time>", "2026-01-01T00:00:00Z")
        sent.add(ScheduleDue.model_validate(json.loads(text)).name)
        role = roles.get(target(to.get("RoleArn", "")), {})
        allows = [
            s for policy in role.get("Policies", []) for s in policy["PolicyDocument"]["Statement"]
            if "events:PutEvents" in s["Action"] and target(s["Resource"]) == "Bus"
        ]  # fmt: skip
        if not allows:
            faults.append(f"the role of {name} may not put events on our bus")
    awaited = {
        name for _, _, rule in stack.rules() if rule["Pattern"].get("source") == [SCHEDULES]
        for name in rule["Pattern"]["detail"]["name"]
    }  # fmt: skip
    faults += [f"nobody waits for the schedule {name}" for name in sorted(sent - awaited)]
    faults += [f"no schedule sends {name}, for which a rule waits" for name in sorted(awaited - sent)]
    return faults


# --- HTTP --------------------------------------------------------------------------------


def routes(stack: Stack) -> Faults:
    """Every route of a handler is reached through an API, with or without a caller as it says, and the reverse."""
    faults = []
    for identity, function in handlers(stack).items():
        doors = [door for door in stack.triggers(identity, "HttpApi").values() if target(door["ApiId"]) == "Api"]
        for route in function.routes:
            through = [door for door in doors if _leads(door, route)]
            if not through and not _elsewhere(stack, route):
                faults.append(f"no API leads to {route.method} {route.path} of {identity}")
            closed = [door for door in through if door.get("Auth", {}).get("Authorizer") != "NONE"]
            if not route.open and len(closed) < len(through):
                faults.append(f"the API lets callers without a token to {route.method} {route.path} of {identity}")
        for name, door in stack.triggers(identity, "HttpApi").items():
            if not any(_leads(door, route) for route in function.routes):
                faults.append(f"{name} leads {door['Method']} {door['Path']} to {identity}, which has no such route")
    return faults


def _elsewhere(stack: Stack, route: Route) -> bool:
    """Say whether a route that is open is one which another function answers, as ``/health``."""
    doors = [d for identity in stack.functions for d in stack.triggers(identity, "HttpApi").values()]
    return route.open and any(_leads(door, route) for door in doors)


def _leads(door: Resource, route: Route) -> bool:
    if door["Path"] == DEFAULT_ROUTE or route.path == EVERYTHING:
        return door["Path"] == DEFAULT_ROUTE and route.path == EVERYTHING
    if "ANY" not in (door["Method"], route.method) and door["Method"] != route.method:
        return False
    path = re.sub(r"\{\w+\+\}", "a/b", door["Path"])
    path = re.sub(r"\{\w+\}", "a", path)
    if not door["Path"].endswith("+}"):
        return bool(route.pattern.match(path))
    before = door["Path"].split("{")[0]
    fixed = re.split(r"<(?!api>|api_version>)", route.path)[0]
    fixed = fixed.replace("<api>", before.split("/")[1]).replace("<api_version>", ([*before.split("/"), "", ""])[2])
    return fixed.startswith(before) or (before.startswith(fixed) and "<path:" in route.path)


def invocations(stack: Stack) -> Faults:
    """Whoever invokes a function may: rules, both APIs, the authorizer and streams."""
    permissions = {
        (target(p["FunctionName"]), p["Principal"], _source(p["SourceArn"]))
        for p in stack.of_type("AWS::Lambda::Permission", translated=True).values()
        if p["Action"] == "lambda:InvokeFunction"
    }
    wanted = {
        f"the rule {name} may not invoke {target(each['Arn'])}": (target(each["Arn"]), "events.amazonaws.com", name)
        for name, rule in stack.of_type("AWS::Events::Rule", translated=True).items()
        for each in rule["Targets"]
    }
    for name, api in stack.of_type("AWS::ApiGatewayV2::Api", translated=True).items():
        wanted |= _of_api(name, api["Body"])
    return [
        f"{fault}: there is no Lambda::Permission"
        for fault, (function, principal, source) in wanted.items()
        # that of a default route covers the others of its function
        if not permissions & {(function, principal, each) for each in (source, f"{source.split('/')[0]}/*/*")}
    ]


def _of_api(name: str, body: Resource) -> dict[str, tuple[str, str, str]]:
    wanted = {}
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            function = _function_in(operation["x-amazon-apigateway-integration"]["uri"])
            verb = "*" if method == "x-amazon-apigateway-any-method" else method.upper()
            source = f"{name}/*/{verb}{re.sub(r'{[^}]*}', '*', path)}"
            fault = f"{name} may not invoke {function} for {verb} {path}"
            wanted[fault] = (function, "apigateway.amazonaws.com", source)
    for scheme in body["components"]["securitySchemes"].values():
        if uri := scheme.get("x-amazon-apigateway-authorizer", {}).get("authorizerUri"):
            function = _function_in(uri)
            fault = f"{name} may not invoke its authorizer {function}"
            wanted[fault] = (function, "apigateway.amazonaws.com", f"{name}/authorizers/*")
    return wanted


def _source(arn: Any) -> str:
    """Return ``Api/*/GET/v1/status`` of an ARN of API Gateway, or the name of the rule."""
    if isinstance(arn.get("Fn::Sub"), list):
        text, values = arn["Fn::Sub"]
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", target(value))
        return str(text.rsplit(":", 1)[1])
    return target(arn)


def _function_in(uri: Any) -> str:
    found = re.search(r"functions/(?:\$\{)?(\w+)", target(uri))
    if found and found[1] != "__FunctionArn__":
        return found[1]
    return target(uri["Fn::Sub"][1]["__FunctionArn__"])


# --- roles, streams, the rest ------------------------------------------------------------


def trust(stack: Stack) -> Faults:
    """Each role can be assumed by the one service that needs it."""
    faults = []
    scheduler = {target(s["Target"].get("RoleArn", "")) for s in stack.of_type("AWS::Scheduler::Schedule").values()}
    for name, role in stack.of_type("AWS::IAM::Role", translated=True).items():
        wanted = "scheduler.amazonaws.com" if name in scheduler else "lambda.amazonaws.com"
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            if [*statement["Principal"]] != ["Service"] or listed(statement["Principal"]["Service"]) != [wanted]:
                faults.append(f"{name} can be assumed by {statement['Principal']}, not by {wanted} alone")
            if name in scheduler and "aws:SourceAccount" not in json.dumps(statement.get("Condition", {})):
                faults.append(f"{name} can be assumed by schedules of other accounts")
    return faults


def streams(stack: Stack) -> Faults:
    """A stream that a function reads exists, the function may read it, and reports what failed."""
    faults = []
    tables = stack.of_type("AWS::DynamoDB::Table")
    for identity in stack.functions:
        for name, mapping in stack.triggers(identity, "DynamoDB").items():
            if "StreamSpecification" not in tables.get(target(mapping["Stream"]), {}):
                faults.append(f"{target(mapping['Stream'])} has no stream, which {name} of {identity} reads")
            role = stack.of_type("AWS::IAM::Role", translated=True).get(f"{identity}Role", {})
            if not any("AWSLambdaDynamoDBExecutionRole" in arn for arn in role.get("ManagedPolicyArns", [])):
                faults.append(f"{identity} may not read the stream of {target(mapping['Stream'])}")
            if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                faults.append(f"the stream mapping {name} of {identity} does not ask for batchItemFailures")
    return faults


def operation(stack: Stack) -> Faults:
    """Every function has log retention, tracing, a timeout that its callers wait for, and a size."""
    faults = []
    groups = stack.of_type("AWS::Logs::LogGroup")
    for identity, properties in stack.functions.items():
        merged = {**stack.template["Globals"]["Function"], **properties}
        group = target(merged.get("LoggingConfig", {}).get("LogGroup", ""))
        if "RetentionInDays" not in groups.get(group, {}):
            faults.append(f"{identity} logs where nothing limits how long it is kept")
        if merged.get("Tracing") != "Active":
            faults.append(f"{identity} is not traced")
        faults += [f"{identity} has no {name}" for name in ("Timeout", "MemorySize") if name not in merged]
    return faults


def storage(stack: Stack) -> Faults:
    """Tables and buckets survive the stack, are encrypted and can be restored; every one has a name in the code."""
    faults = []
    for kind, suffix, names in (("AWS::DynamoDB::Table", "Table", TABLES), ("AWS::S3::Bucket", "Bucket", BUCKETS)):
        found = stack.of_type(kind)
        faults += [f"there is no {n.capitalize()}{suffix}" for n in names if f"{n.capitalize()}{suffix}" not in found]
        for name, properties in found.items():
            if stack.template["Resources"][name].get("DeletionPolicy") != "Retain":
                faults.append(f"{name} is deleted with the stack")
            wanted = (
                ("SSESpecification", "PointInTimeRecoverySpecification")
                if suffix == "Table"
                else ("BucketEncryption", "PublicAccessBlockConfiguration", "VersioningConfiguration")
            )
            faults += [f"{name} has no {each}" for each in wanted if each not in properties]
    return faults


CHECKS: tuple[Callable[[Stack], Faults], ...] = (
    dead_letters,
    wildcards,
    managed_policies,
    grants,
    environment_and_policy,
    needed_by_code,
    environment,
    event_patterns,
    consumers,
    schedules,
    routes,
    invocations,
    trust,
    streams,
    operation,
    storage,
)


def faults(stack: Stack) -> Faults:
    """Return all faults of all checks."""
    return [fault for check in CHECKS for fault in check(stack)]


# --- reading -----------------------------------------------------------------------------


def _statements(stack: Stack) -> Iterator[tuple[str, str, Resource]]:
    for identity in stack.functions:
        for statement in stack.statements(identity):
            yield identity, statement.get("Sid", "(unnamed)"), statement
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, policy["PolicyName"], statement


def _written_grants() -> set[tuple[str, str, str]]:
    found = set()
    for line in GRANTS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            function, where, actions = line.split(maxsplit=2)
            found |= {(function, action, where) for action in actions.split()}
    return found


def written(stack: Stack) -> str:
    """Return the text of ``grants.txt`` for a template, to be read before it is kept."""
    by_place: dict[tuple[str, str], set[str]] = {}
    for function, action, where in granted(stack):
        by_place.setdefault((function, where), set()).add(action)
    lines = [f"{f} {where} {' '.join(sorted(actions))}" for (f, where), actions in sorted(by_place.items())]
    head = "# What each function may do, written down a second time on purpose: a change of a policy is made twice.\n"
    return head + "\n".join(lines) + "\n"
