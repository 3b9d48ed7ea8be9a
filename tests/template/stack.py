"""The template, its translation, and the handlers, read once and ready to be asked."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from support.http import handler_of, memory_wiring

from modelwright.local import translation
from modelwright.runtime import Function

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
FUNCTION = "AWS::Serverless::Function"

Template = dict[str, Any]
Resource = Mapping[str, Any]


def the_template() -> Template:
    """Return the template as it is in the repository; a fresh copy each time."""
    return translation.parse((ROOT / "template.yaml").read_text(encoding="utf-8"))


def translate(template: Template) -> Template:
    """Return the CloudFormation that AWS would make of it, once its packages and images are uploaded."""
    packaged = deepcopy(template)
    for resource in packaged["Resources"].values():
        if resource["Type"] == FUNCTION:
            properties = resource["Properties"]
            if properties.get("PackageType") == "Image":
                properties["ImageUri"] = f"111122223333.dkr.ecr.{REGION}.amazonaws.com/modelwright:full"
            else:
                properties["CodeUri"] = "s3://code/package.zip"
            resource.pop("Metadata", None)
    return translation.translate(packaged, {}, REGION)


def listed(value: Any) -> list[Any]:
    """Return a policy's value as a list, whether it was one or a single one."""
    return value if isinstance(value, list) else [value]


def target(value: Any) -> str:
    """Return what an intrinsic points to: ``LogTable``, ``LogTable/index/by_hour``, ``LakeBucket/offline/*``."""
    if isinstance(value, Mapping):
        if "Ref" in value:
            return str(value["Ref"])
        if "Fn::GetAtt" in value:
            found = value["Fn::GetAtt"]
            return str(found[0] if isinstance(found, list) else found.split(".")[0])
        if "Fn::Sub" in value:
            text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
            return re.sub(r"\$\{([A-Za-z0-9]+)(?:\.\w+)?\}", r"\1", text)
    return str(value)


@dataclass
class Stack:
    """A template and what became of it.

    Attributes:
        template: as people write it.
        translated: as CloudFormation gets it.
    """

    template: Template
    translated: Template

    @classmethod
    def of(cls, template: Template) -> "Stack":
        """Translate a template."""
        return cls(template, translate(template))

    def of_type(self, kind: str, *, translated: bool = False) -> dict[str, Resource]:
        """Return the properties of all resources of a type."""
        resources = (self.translated if translated else self.template)["Resources"]
        return {name: each.get("Properties", {}) for name, each in resources.items() if each["Type"] == kind}

    @cached_property
    def functions(self) -> dict[str, Resource]:
        """The functions' properties by logical id."""
        return self.of_type(FUNCTION)

    @cached_property
    def names(self) -> dict[str, str]:
        """The functions' short names by logical id."""
        return translation.functions(self.template)

    def environment(self, identity: str) -> dict[str, Any]:
        """Return the variables that a function gets, those of all functions included."""
        shared = self.template["Globals"]["Function"]["Environment"]["Variables"]
        own = self.functions[identity].get("Environment", {}).get("Variables", {})
        return {**shared, **own}

    def statements(self, identity: str) -> Iterator[Resource]:
        """Yield the statements of a function's policy, those under a condition included."""
        for policy in self.functions[identity].get("Policies", []):
            for statement in policy["Statement"]:
                yield statement["Fn::If"][1] if "Fn::If" in statement else statement

    def grants(self, identity: str) -> set[tuple[str, str]]:
        """Return (action, where) pairs that a function's policy allows."""
        return {
            (action, target(resource))
            for statement in self.statements(identity)
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }

    def triggers(self, identity: str, kind: str) -> dict[str, Resource]:
        """Return a function's triggers of a kind (``EventBridgeRule``, ``HttpApi``, ``DynamoDB``)."""
        events = self.functions[identity].get("Events", {})
        return {name: each["Properties"] for name, each in events.items() if each["Type"] == kind}

    def rules(self) -> Iterator[tuple[str, str, Resource]]:
        """Yield (function, rule, properties) of every rule."""
        for identity in self.functions:
            for name, properties in self.triggers(identity, "EventBridgeRule").items():
                yield identity, name, properties


def handlers(stack: Stack) -> dict[str, Function]:
    """Return each function's handler over memory, by logical id."""
    return {identity: _handler(name) for identity, name in stack.names.items()}


@cache
def _handler(name: str) -> Function:
    return handler_of(name, memory_wiring())


# --- what the functions' code reads ------------------------------------------------------


def modules_of(name: str) -> set[Path]:
    """Return the files of our own that a function's handler imports, wherever in them it does."""
    found: set[Path] = set()
    waiting = [ROOT / "functions" / name / "handler.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            modules = [*_imported(path), *_plugins(path)]
            waiting += [file for module in modules if (file := _file(module))]
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _plugins(path: Path) -> Iterator[str]:
    """Yield the modules of the plugins of each kind that a file loads; who asks which are installed loads none."""
    text = re.sub(r'installed\("engines"\)', "", path.read_text(encoding="utf-8"))
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    for group, points in groups.items():
        if f'"{group.removeprefix("modelwright.")}"' in text and "plugins" in text and path.name != "plugins.py":
            yield from (reference.split(":")[0] for reference in points.values())


def _file(module: str) -> Path | None:
    if module.split(".", maxsplit=1)[0] != "modelwright":
        return None
    path = ROOT / "src" / Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
