"""The SAM template as the emulator can take it; pure functions on dictionaries.

Order: ``zip_images`` and ``with_code`` on the SAM template, ``translate``, then ``route_apis`` and
``refuse_dangling`` on the CloudFormation that comes out.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, TypeAlias

import boto3
import yaml
from samtranslator.metrics.metrics import Metrics
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from modelwright.errors import LocalStackError
from modelwright.local.server import PUBLIC_API

Template: TypeAlias = dict[str, Any]

RUNTIME = "python3.13"
"""Of the container image; MiniStack runs every Python on its own interpreter."""

_FUNCTION = "AWS::Serverless::Function"
_API = "AWS::ApiGatewayV2::Api"
_ANY_METHOD = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_AUTHORIZER = "x-amazon-apigateway-authorizer"


def parse(text: str) -> Template:
    """Return the template of a YAML text with CloudFormation's short tags.

    Raises:
        LocalStackError: it is no YAML, or has no resources; names the line.
    """
    try:
        parsed: Template = yaml_parse(text)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 0
        raise LocalStackError(f"template.yaml is no YAML in line {line}: {fault.problem}") from fault
    if not isinstance(parsed, dict) or not isinstance(parsed.get("Resources"), dict):
        raise LocalStackError("template.yaml has no Resources")
    return parsed


def functions(template: Template) -> dict[str, str]:
    """Return ``{logical id: name}`` of the functions: the name is the first part of the handler.

    Raises:
        LocalStackError: a function tells no handler.
    """
    return {identity: _name(identity, resource) for identity, resource in _functions(template)}


def zip_images(template: Template) -> Template:
    """Return the template with container images turned into zips of the same handler.

    Their libraries then come from the environment that the emulator runs in.
    Until: MiniStack runs images without Docker.
    """
    changed = deepcopy(template)
    for _identity, resource in _functions(changed):
        properties = resource["Properties"]
        if properties.get("PackageType") == "Image":
            properties |= {"Handler": properties.pop("ImageConfig")["Command"][0], "Runtime": RUNTIME}
            for key in ("PackageType", "ImageUri"):
                properties.pop(key, None)
    return changed


def with_code(template: Template, locations: Mapping[str, str]) -> Template:
    """Return the template with each function's code at ``locations[name]``, an ``s3://`` URI."""
    changed = deepcopy(template)
    for identity, resource in _functions(changed):
        resource["Properties"]["CodeUri"] = locations[_name(identity, resource)]
        resource.pop("Metadata", None)
    return changed


def translate(template: Template, parameters: Mapping[str, str], region: str) -> Template:
    """Return the CloudFormation of a SAM template.

    Raises:
        LocalStackError: it is not valid SAM; names the resource and the reason.
    """
    metrics = Metrics()
    session = boto3.Session(region_name=region)
    translator = Translator({}, Parser(), boto_session=session, metrics=metrics)
    try:
        translated: Template = translator.translate(deepcopy(template), dict(parameters))
    except InvalidDocumentException as invalid:
        reasons = "; ".join(cause.message for cause in invalid.causes)
        raise LocalStackError(f"template.yaml is not valid SAM: {reasons}") from invalid
    finally:
        metrics.publish()  # to nowhere; unpublished ones print a warning at exit
    return translated


def route_apis(template: Template) -> Template:
    """Return the template with routes as resources instead of in each HTTP API's OpenAPI ``Body``.

    MiniStack's CloudFormation ignores ``Body``: the stack is green and the API empty. The first
    API that is not for AWS_IAM gets the id at which ``server`` reaches it. Until: MiniStack reads
    ``Body``.
    """
    changed = deepcopy(template)
    resources: dict[str, Any] = changed["Resources"]
    public = False
    for identity, resource in list(resources.items()):
        body = resource.get("Properties", {}).get("Body") if resource["Type"] == _API else None
        if not isinstance(body, dict):
            continue
        resources.update(_routes(identity, body))
        tags = {}
        if not public and not _signed(body):
            public, tags = True, {"ms-custom-id": PUBLIC_API}
        resource["Properties"] = {"ProtocolType": "HTTP", "Name": identity, "Tags": tags} | _cors(body)
    return changed


def refuse_dangling(template: Template) -> None:
    """Refuse references to what a CloudFormation template does not have.

    MiniStack resolves them to nothing in silence. Until: it refuses them as AWS does.

    Raises:
        LocalStackError: names the resource or output and what it refers to.
    """
    known = {*template["Resources"], *template.get("Parameters", {})}
    for identity, part in [*template["Resources"].items(), *template.get("Outputs", {}).items()]:
        for name in _references(part):
            if name not in known and not name.startswith("AWS::"):
                raise LocalStackError(f"template.yaml: {identity} refers to {name}, which is not in it")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _REFERENCES.get(key, _references)(inner)


def _of_attribute(value: Any) -> Iterator[str]:
    yield value[0] if isinstance(value, list) else str(value).split(".", 1)[0]


def _of_text(value: Any) -> Iterator[str]:
    text, given = value if isinstance(value, list) else (value, {})
    yield from (name.split(".", 1)[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text) if name not in given)
    yield from _references(given)


_REFERENCES: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "Ref": lambda value: iter([str(value)]),
    "Fn::GetAtt": _of_attribute,
    "Fn::Sub": _of_text,
}


def _functions(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    for identity, resource in template["Resources"].items():
        if resource["Type"] == _FUNCTION:
            yield identity, resource


def _name(identity: str, resource: Mapping[str, Any]) -> str:
    properties = resource["Properties"]
    handler = properties.get("Handler") or (properties.get("ImageConfig", {}).get("Command") or [""])[0]
    if not handler:
        raise LocalStackError(f"{identity} in template.yaml has neither Handler nor ImageConfig.Command")
    return str(handler).split(".", 1)[0]


def _routes(api: str, body: Mapping[str, Any]) -> dict[str, Any]:
    schemes = body.get("components", {}).get("securitySchemes", {})
    made = {
        f"{api}{_plain(name)}Authorizer": _authorizer(api, name, scheme[_AUTHORIZER])
        for name, scheme in schemes.items()
        if _AUTHORIZER in scheme
    }
    for path, methods in body.get("paths", {}).items():
        for method, operation in methods.items():
            if _INTEGRATION not in operation:
                continue
            verb = "ANY" if method == _ANY_METHOD else method.upper()
            key = "$default" if path.lstrip("/") == "$default" else f"{verb} {path}"
            route = f"{api}{_plain(key)}"
            integration = _integration(api, operation[_INTEGRATION])
            name = f"{api}{_digest(integration)}Integration"  # one per function: a stack has 500 resources at most
            made[name] = integration
            made[f"{route}Route"] = _route(api, key, name, _security(operation, schemes, api))
    return made


def _digest(resource: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(resource, sort_keys=True).encode()).hexdigest()[:12]


def _integration(api: str, given: Mapping[str, Any]) -> dict[str, Any]:
    properties = {
        "ApiId": {"Ref": api},
        "IntegrationType": str(given["type"]).upper(),
        "IntegrationMethod": given.get("httpMethod", "POST"),
        "IntegrationUri": given["uri"],
        "PayloadFormatVersion": given.get("payloadFormatVersion", "2.0"),
        "TimeoutInMillis": given.get("timeoutInMillis", 30000),
    }
    return {"Type": "AWS::ApiGatewayV2::Integration", "Properties": properties}


def _route(api: str, key: str, integration: str, security: Mapping[str, Any]) -> dict[str, Any]:
    target = {"Fn::Sub": f"integrations/${{{integration}}}"}
    properties = {"ApiId": {"Ref": api}, "RouteKey": key, "Target": target, **security}
    return {"Type": "AWS::ApiGatewayV2::Route", "Properties": properties}


def _security(operation: Mapping[str, Any], schemes: Mapping[str, Any], api: str) -> dict[str, Any]:
    for choice in operation.get("security") or ():
        for name, scopes in choice.items():
            scheme = schemes.get(name, {})
            if scheme.get("x-amazon-apigateway-authtype") == "awsSigv4" or name == "AWS_IAM":
                return {"AuthorizationType": "AWS_IAM"}
            if _AUTHORIZER in scheme:
                kind = "JWT" if scheme[_AUTHORIZER]["type"] == "jwt" else "CUSTOM"
                authorizer = {"Ref": f"{api}{_plain(name)}Authorizer"}
                found = {"AuthorizationType": kind, "AuthorizerId": authorizer}
                return found | ({"AuthorizationScopes": scopes} if scopes else {})
    return {"AuthorizationType": "NONE"}


def _authorizer(api: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    sources = given.get("identitySource") or []
    properties: dict[str, Any] = {
        "ApiId": {"Ref": api},
        "Name": name,
        "AuthorizerType": str(given["type"]).upper(),
        "IdentitySource": sources if isinstance(sources, list) else [s.strip() for s in sources.split(",")],
    }
    if given["type"] == "jwt":
        jwt = given["jwtConfiguration"]
        properties["JwtConfiguration"] = {"Audience": jwt.get("audience", []), "Issuer": jwt["issuer"]}
    else:
        properties |= {
            "AuthorizerUri": given["authorizerUri"],
            "AuthorizerPayloadFormatVersion": given.get("authorizerPayloadFormatVersion", "2.0"),
            "AuthorizerResultTtlInSeconds": given.get("authorizerResultTtlInSeconds", 0),
            "EnableSimpleResponses": given.get("enableSimpleResponses", False),
        }
    return {"Type": "AWS::ApiGatewayV2::Authorizer", "Properties": properties}


def _cors(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("x-amazon-apigateway-cors")
    return {"CorsConfiguration": given} if given else {}


def _signed(body: Mapping[str, Any]) -> bool:
    schemes = body.get("components", {}).get("securitySchemes", {})
    operations = [
        _security(operation, schemes, "")
        for methods in body.get("paths", {}).values()
        for operation in methods.values()
        if _INTEGRATION in operation
    ]
    return bool(operations) and all(each["AuthorizationType"] == "AWS_IAM" for each in operations)


def _plain(text: str) -> str:
    """Return a logical id's part for any text: letters and digits, two texts never the same."""
    return "".join(each if each.isalnum() else f"X{ord(each):x}" for each in text)
