"""MLflow's interface in AWS: nothing unless asked for, private files, the API beside them, the door's own rules."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from modelwright.governance.tokens import COOKIE
from modelwright.local.ui import CONTENT_SECURITY_POLICY, FILES, PAGE, SECURITY_HEADERS
from template.stack import Stack, target, the_template

STACK = Stack.of(the_template())
RESOURCES: dict[str, Any] = STACK.template["Resources"]
CONFIG: dict[str, Any] = RESOURCES["UiDistribution"]["Properties"]["DistributionConfig"]
BEHAVIOURS: list[dict[str, Any]] = CONFIG["CacheBehaviors"]
NEVER = {"Fn::FindInMap": ["CloudFrontPolicies", "Cache", "Never"]}
NOT_OF_A_BROWSER = {
    "/",
    "$default",
    "/get-online-features",
    "/materialize",
    "/materialize-incremental",
    "/push",
    "/write-to-online-store",
}
"""The API's own root, whatever it does not know, and what Feast's clients call: they call the API itself."""


def behaviour_of(path: str) -> dict[str, Any]:
    """Return the behaviour that CloudFront chooses for a path: the first whose pattern fits, else the default."""
    fitting = (each for each in BEHAVIOURS if fnmatchcase(path, "/" + each["PathPattern"]))
    return next(fitting, CONFIG["DefaultCacheBehavior"])


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    assert STACK.template["Parameters"]["Ui"]["Default"] == "none"
    ours = {name for name, each in RESOURCES.items() if "CloudFront" in each["Type"] or name.startswith("Ui")}
    outputs = STACK.template["Outputs"]
    assert len(ours) == 6
    assert {RESOURCES[name].get("Condition") for name in ours} == {"HasUi"}
    assert {outputs[name].get("Condition") for name in outputs if name.startswith("Ui")} == {"HasUi"}


def test_every_path_of_the_api_that_a_browser_asks_for_goes_to_the_api_and_is_not_kept() -> None:
    doors = {each["Path"] for name in STACK.functions for each in STACK.triggers(name, "HttpApi").values()}
    prefixed = {path.replace("{api}", "ajax-api").replace("{version}", "2.0") for path in doors - NOT_OF_A_BROWSER}
    paths = {re.sub(r"\{[^}]*\}", "a", path) for path in prefixed}
    assert {path: behaviour_of(path)["TargetOriginId"] for path in paths} == dict.fromkeys(paths, "api")


@pytest.mark.parametrize("behaviour", [each for each in BEHAVIOURS if each["TargetOriginId"] == "api"], ids=str)
def test_what_goes_to_the_api_goes_there_whole(behaviour: dict[str, Any]) -> None:
    assert behaviour["CachePolicyId"] == NEVER
    assert set(behaviour["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}
    assert behaviour["OriginRequestPolicyId"]["Fn::FindInMap"][-1] == "AllButHost"
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"


def test_the_page_and_its_files_come_from_the_bucket() -> None:
    page, files = behaviour_of("/"), behaviour_of(f"/{FILES}static/js/main.js")
    assert CONFIG["DefaultRootObject"] == PAGE
    assert {page["TargetOriginId"], files["TargetOriginId"]} == {"files"}
    assert page["CachePolicyId"] == NEVER, "a published page is seen at once"
    assert "FunctionAssociations" not in files, "the files are no secret, and each request of the function costs"


def test_who_has_no_cookie_is_sent_to_the_form_by_the_name_that_the_console_sets() -> None:
    (asked,) = behaviour_of("/")["FunctionAssociations"]
    assert (asked["EventType"], target(asked["FunctionARN"])) == ("viewer-request", "UiSignedIn")
    assert f"cookies['{COOKIE}']" in RESOURCES["UiSignedIn"]["Properties"]["FunctionCode"]


def test_only_this_distribution_reads_the_bucket_and_nobody_writes_it() -> None:
    allowed, denied = RESOURCES["UiBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert allowed["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert allowed["Action"] == ["s3:GetObject", "s3:ListBucket"]
    assert "distribution/UiDistribution" in target(allowed["Condition"]["StringEquals"]["AWS:SourceArn"])
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": False}})
    files = next(each for each in CONFIG["Origins"] if each["Id"] == "files")
    assert target(files["OriginAccessControlId"]) == "UiOriginAccess"


def test_the_page_may_do_what_it_may_do_locally_and_reach_the_artifacts() -> None:
    headers = RESOURCES["UiHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    said = target(headers["ContentSecurityPolicy"]["ContentSecurityPolicy"])
    assert said == CONTENT_SECURITY_POLICY.format(
        storage=" https://s3.${AWS::Region}.${AWS::URLSuffix}/ArtifactsBucket/"
        " https://s3.${AWS::URLSuffix}/ArtifactsBucket/"
    )
    assert headers["FrameOptions"]["FrameOption"] == SECURITY_HEADERS["x-frame-options"]
    assert headers["ReferrerPolicy"]["ReferrerPolicy"] == SECURITY_HEADERS["referrer-policy"]
    assert headers["ContentTypeOptions"]["Override"]
    assert headers["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000


def test_the_api_learns_where_the_interface_is_without_a_circle() -> None:
    """Its functions cannot be told: the distribution needs the API, which needs its functions."""
    assert target(STACK.template["Resources"]["Api"]["Properties"]["StageVariables"]["Fn::If"][1]["interface"]) == (
        "https://UiDistribution/"
    )
    environments = [STACK.environment(name) for name in STACK.functions]
    assert not [each for each in environments if "UiDistribution" in str(each)]
