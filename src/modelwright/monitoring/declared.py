"""Whether what a project declares of its data's quality can be checked, asked before any data comes."""

from modelwright.errors import InvalidInput, PluginError
from modelwright.monitoring import formulas
from modelwright.monitoring.checks import Checks, checks_of
from modelwright.monitoring.rows import DECLARED
from modelwright.project import Project, Source


def require_checkable(project: Project, check: Checks) -> None:
    """Refuse what could not be checked: unknown checks, options, severities and columns, broken expressions.

    Args:
        project: as it is declared.
        check: the installed checks by name.

    Raises:
        InvalidInput: the text names the source, what is wrong, and what there is instead.
    """
    for name, source in project.sources.items():
        try:
            _require(source, check)
            _require_skew(project, source)
        except (InvalidInput, PluginError) as error:
            raise InvalidInput(f"source {name}: {error}") from error


def _require(source: Source, check: Checks) -> None:
    checks_of(source, check)
    if unused := sorted(set(source.check_options) - set(source.checks)):
        raise InvalidInput(f"there are options of {', '.join(unused)}, which is not among its checks")
    known = (*source.checks, *DECLARED, *source.rules)
    if unknown := sorted(set(source.severity) - set(known)):
        raise InvalidInput(f"a severity is of {', '.join(unknown)}, which is no check: there are {', '.join(known)}")
    for segment in (each for each in source.drift.segments if each not in source.columns):
        try:
            formulas.check(segment, source.columns)
        except InvalidInput as error:
            raise InvalidInput(f"the segment {segment!r}: {error}") from error
    for name, expression in source.rules.items():
        try:
            formulas.check(expression, source.columns, is_rule=True)
        except InvalidInput as error:
            raise InvalidInput(f"the rule {name}: {error}") from error


def _require_skew(project: Project, source: Source) -> None:
    options = source.check_options.get("skew", {})
    other = str(options.get("source", ""))
    if not options:
        return
    if other not in project.sources:
        raise InvalidInput(f"skew compares with source {other!r}, which is not declared")
    mine, theirs = str(options.get("column", "")), str(options.get("other", "") or options.get("column", ""))
    on = tuple(options.get("on", ()))
    for names, of, declared in (((mine, *on), "this source", source), ((theirs, *on), other, project.sources[other])):
        if missing := [name for name in names if name not in declared.columns]:
            raise InvalidInput(f"skew compares by {', '.join(map(repr, missing))}, which is no column of {of}")
    for name in on:
        kinds = [declared.columns[name].type for declared in (source, project.sources[other])]
        if kinds[0] != kinds[1]:
            raise InvalidInput(f"skew names rows by {name}: {kinds[0]} here, {kinds[1]} in {other}")
