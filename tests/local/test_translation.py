from pathlib import Path
from typing import Any

import pytest

from modelwright.errors import LocalStackError
from modelwright.local.translation import functions, parse, route_apis, translate, with_code, zip_images


@pytest.fixture(scope="module")
def template(project: Path) -> dict[str, Any]:
    return parse((project / "template.yaml").read_text())


@pytest.fixture(scope="module")
def processed(template: dict[str, Any]) -> dict[str, Any]:
    locations = {name: f"s3://code/{name}.zip" for name in functions(template).values()}
    return route_apis(translate(with_code(zip_images(template), locations), {}, "us-east-1"))


def resources(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in template["Resources"].values() if each["Type"] == kind]


def test_functions_are_named_after_their_handlers(template: dict[str, Any]) -> None:
    assert functions(template)["EchoFunction"] == "echo"
    assert functions(template)["ModelFunction"] == "model"


def test_a_function_without_handler_is_named() -> None:
    wrong = {"Resources": {"Lost": {"Type": "AWS::Serverless::Function", "Properties": {}}}}
    with pytest.raises(LocalStackError, match=r"Lost in template\.yaml has neither"):
        functions(wrong)


def test_images_become_zips_of_the_same_handler(template: dict[str, Any]) -> None:
    properties = zip_images(template)["Resources"]["ModelFunction"]["Properties"]
    assert properties["Handler"] == "model.handler.handler"
    assert "PackageType" not in properties
    assert template["Resources"]["ModelFunction"]["Properties"]["PackageType"] == "Image"


def test_every_route_of_the_body_becomes_a_resource(processed: dict[str, Any]) -> None:
    routes = {each["RouteKey"]: each["AuthorizationType"] for each in resources(processed, "AWS::ApiGatewayV2::Route")}
    assert routes == {
        "GET /health": "NONE",
        "GET /login": "NONE",
        "ANY /{proxy+}": "CUSTOM",
        "POST /v1/predict/{model}": "CUSTOM",
    }
    assert "Body" not in processed["Resources"]["Api"]["Properties"]


def test_routes_to_one_function_share_an_integration(processed: dict[str, Any]) -> None:
    routes = resources(processed, "AWS::ApiGatewayV2::Route")
    assert len({route["Target"]["Fn::Sub"] for route in routes}) == 2
    assert len(resources(processed, "AWS::ApiGatewayV2::Integration")) == 2


def test_the_platform_stays_below_the_500_resources_of_a_stack() -> None:
    platform = parse((Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8"))
    locations = {name: f"s3://code/{name}.zip" for name in functions(platform).values()}
    made = route_apis(translate(with_code(zip_images(platform), locations), {}, "us-east-1"))["Resources"]
    assert 200 < len(made) <= 500


def test_the_authorizer_keeps_its_settings(processed: dict[str, Any]) -> None:
    (authorizer,) = resources(processed, "AWS::ApiGatewayV2::Authorizer")
    assert authorizer["EnableSimpleResponses"] is True
    assert authorizer["AuthorizerResultTtlInSeconds"] == 0
    assert authorizer["AuthorizerPayloadFormatVersion"] == "2.0"


def body(security: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    integration = {"type": "aws_proxy", "uri": "arn"}
    paths = {"/a": {"get": {"x-amazon-apigateway-integration": integration, **operation}}}
    return {"paths": paths, "components": {"securitySchemes": security}}


def api(given: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Body": given}}


def test_a_signed_api_is_never_the_public_one() -> None:
    signed = body({"AWS_IAM": {"x-amazon-apigateway-authtype": "awsSigv4"}}, {"security": [{"AWS_IAM": []}]})
    changed = route_apis({"Resources": {"Signed": api(signed), "Open": api(body({}, {}))}})
    assert changed["Resources"]["Signed"]["Properties"]["Tags"] == {}
    assert changed["Resources"]["Open"]["Properties"]["Tags"] == {"ms-custom-id": "modelwright"}
    kinds = [each["AuthorizationType"] for each in resources(changed, "AWS::ApiGatewayV2::Route")]
    assert sorted(kinds) == ["AWS_IAM", "NONE"]


def test_a_jwt_authorizer_keeps_issuer_audience_and_scopes() -> None:
    scheme = {
        "type": "jwt",
        "identitySource": "$request.header.Authorization",
        "jwtConfiguration": {"issuer": "https://id", "audience": ["me"]},
    }
    given = body({"Id": {"x-amazon-apigateway-authorizer": scheme}}, {"security": [{"Id": ["read"]}]})
    changed = route_apis({"Resources": {"Api": api(given)}})
    (authorizer,) = resources(changed, "AWS::ApiGatewayV2::Authorizer")
    (route,) = resources(changed, "AWS::ApiGatewayV2::Route")
    assert authorizer["JwtConfiguration"] == {"Audience": ["me"], "Issuer": "https://id"}
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert (route["AuthorizationType"], route["AuthorizationScopes"]) == ("JWT", ["read"])


def test_paths_that_look_alike_get_routes_of_their_own() -> None:
    integration = {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": "arn"}}
    paths = {path: {"get": integration} for path in ("/a/bc", "/ab/c", "/a-bc", "/{abc}", "/{abc+}")}
    changed = route_apis({"Resources": {"Api": api({"paths": paths})}})
    assert len(resources(changed, "AWS::ApiGatewayV2::Route")) == len(paths)


def test_invalid_sam_is_told_with_the_resource() -> None:
    wrong = {
        "Resources": {"Lost": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "a.handler.handler"}}}
    }
    with pytest.raises(LocalStackError, match=r"not valid SAM.*Lost"):
        translate(wrong, {}, "us-east-1")
