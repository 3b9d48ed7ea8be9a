"""Filters and orders for ``test_filters.py``: valid ones, ones with a part that does not fit, and damaged ones."""

from typing import NamedTuple

from hypothesis import strategies as st

TEXTS = ("blue", "Blue", "BLUE", "b%e", "b_e", "a b", "a\nb", "", "it's", "it''s", 'say "x"', "Ä", "ä", "0.1", "READY")
"""What tags, params and names are."""
QUOTES = ("'", "'", "'", "'", '"', '"', "`")
SPACE = st.sampled_from(["", " ", " ", "  ", "\n", "\t"])
LITERALS = "% b% %e _lue %l%e r1 R1 s3://x/1 true false d1% FINISHED FAILED A a2 m% 1 2 15"
STRINGS = st.sampled_from([*TEXTS, *LITERALS.split()])
NUMBERS = st.sampled_from(
    ["0", "1", "-1", "0.5", ".5", "5.", "-1.5", "1e300", "1e-3", "990", "2000", "99999999999", "-0.0", "1700000000003"]
)
ODD_NUMBERS = st.sampled_from(
    [*["+1", "1_0", "0x1F", "1e+2", "NaN", "inf", "1.2.3", "'1'", '"1"', "1.5", "abc", "`1`"], "' 1 '", "", "(1)"]
)
QUOTED = st.builds("{1}{0}{1}".format, STRINGS, st.sampled_from(QUOTES)) | STRINGS.map("'{}'".format)
LISTS = st.lists(STRINGS, min_size=1, max_size=4).map(lambda texts: f"({', '.join(map(repr, texts))})")
ODD_LISTS = st.builds(
    lambda members, glue, form: form.format(glue.join(members)),
    st.lists(QUOTED | STRINGS | NUMBERS, max_size=3),
    st.sampled_from([",", ", "]),
    st.sampled_from(["({})", "({},)", "[{}]", "(({}))", "({}", "{}"]),
)
NUMBER_OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
TEXT_OPERATORS = st.sampled_from(["=", "!=", "LIKE", "ILIKE"])
STRANGE = st.sampled_from(
    ["<>", "==", "~", "RLIKE", "NOT LIKE", "IS", "IS NOT", "IS  NULL", "IS NOT  NULL", "NOT  IN", "BETWEEN", "=>", "+",
     "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"]
)  # fmt: skip
JOINTS = st.sampled_from([" AND ", " AND ", " and ", " And\n", "  AND  "])
ODD_JOINTS = st.sampled_from([" OR ", " ", ", ", "; ", " AND AND ", " && ", "AND", " XOR ", " and not "])
ODD_ENDS = st.sampled_from([" ", ";", " AND", " --x", " ASC", ")", "\n", " /* x */", " LIMIT 1"])
DAMAGE = st.sampled_from([*"'\"`().,;=<>! \n-\\%x0", ""])
DIRECTIONS = st.sampled_from(["", " ASC", " DESC", " asc", " Desc", "  DESC"])
ODD_DIRECTIONS = st.sampled_from([" UP", ";", " ASC DESC", " NULLS LAST", " DESC NULLS FIRST", ", name", " ", "\nDESC"])


def words(text: str) -> list[str]:
    """Return what stands between bars."""
    return " ".join(text.split("\n")).strip().split(" | ")


class Grammar(NamedTuple):
    """The keys of a kind of things: those that go with text, numbers, lists and null, in orders, and those that do not.

    Attributes:
        numerals: numbers that may be compared with.
    """

    texts: list[str]
    numbers: list[str]
    lists: list[str]
    nulls: list[str]
    odd: list[str]
    orders: list[str]
    numerals: st.SearchStrategy[str] = NUMBERS

    @property
    def keys(self) -> list[str]:
        """All keys."""
        return [*self.texts, *self.numbers, *self.lists, *self.odd, *self.orders]


WHOLE = st.sampled_from(["0", "1", "2", "-1", "990", "2000", "99999999999", "1700000000003"])
RUN = Grammar(
    texts=words("""
params.lr | param.lr | parameter.`a b` | parameters.x.y | params.`x.y` | params."a b" | params.'lr' | tags.team |
tag.`a b` | tags.mlflow.x | tags.`mlflow.x` | tags.mlflow.runName | tags."it's" | `tags`.team | tags."`team`" | status |
attributes.status | attr.run_name | run.status | attribute.user_id | run_name | `run_name` | "run_name" |
attributes.run_id | artifact_uri | attributes.`Run Name` | attributes.`run name` | datasets.name | dataset.digest |
datasets.context | datasets.`name` | dataset.name
"""),
    numbers=words("""
metrics.acc | metric.acc | metrics.`val loss` | metrics."val loss" | metrics.a/b | metrics.`a/b` | metrics.nobody |
start_time | attributes.end_time | end_time | created | Created | attributes.Created
"""),
    lists=words("run_id | attributes.run_id | `run_id` | datasets.name | dataset.digest | datasets.context"),
    nulls=words("params.lr | tags.team | tag.`a b` | params.x.y | params.nobody | tags.mlflow.x"),
    odd=words("""
metrics | params.'a b' | TAGS.team | tags.`team | tags. | .team | tags.`'team'` | tags.`mlflow`.x | `tags.team` |
'tags.team' | `Run name` | Run name | lifecycle_stage | experiment_id | User | timestamp | datasets.colour | 5 | name |
f(x) | 'lr' | user | metrics.acc.`x` | tags.a b
"""),
    orders=words(
        "metrics.acc | metrics.`val loss` | params.lr | tags.`a b` | start_time | attributes.end_time | Created"
    ),
)
MODEL = Grammar(
    texts=words("""
params.lr | params.`a b` | tags.team | tags.x.y | tags.`x.y` | name | attributes.name | `name` | attributes.`name` |
model_id | model_type | source_run_id
"""),
    numbers=words("""
metrics.acc | metrics.loss | metrics.`acc` | creation_time | creation_timestamp | last_updated_timestamp |
attributes.creation_timestamp_ms | last_updated_timestamp_ms
"""),
    lists=words("params.lr | tags.team | name | attributes.model_type | source_run_id | lifecycle_stage"),
    nulls=[],
    odd=words("""
metric.acc | param.lr | Tags.team | attribute.name | last_updated_time | status |
attributes.status | colour | datasets.name | 5 | timestamp
"""),
    orders=words(
        "metrics.acc | metrics.loss | name | creation_time | last_updated_timestamp | model_type | source_run_id"
    ),
)
EXPERIMENT = Grammar(
    texts=words('name | attribute.name | `name` | attribute.`name` | "name" | tags.team | tag.`a b` | tags."a b"'),
    numbers=words("creation_time | last_update_time | attribute.last_update_time | `creation_time`"),
    lists=words("experiment_id | attribute.experiment_id"),
    nulls=words("tags.team | tag.`a b` | tags.nobody"),
    odd=words(
        "`tags`.team | attr.name | metrics.acc | params.lr | lifecycle_stage | 5 | timestamp | TAGS.team | tags.'team'"
    ),
    orders=words("name | attribute.name | `name` | experiment_id | creation_time | last_update_time"),
    numerals=WHOLE,
)
REGISTERED = Grammar(
    texts=words("""
name | attribute.name | tags.team | tag.`a b` | tags."a b" | tags.`mlflow.prompt.is_prompt` |
tags.mlflow.prompt.is_prompt
"""),
    numbers=[],
    lists=words("name | attribute.name"),
    nulls=[],
    odd=words("""
`name` | attributes.name | last_updated_timestamp | timestamp | creation_timestamp | run_id | metrics.a |
`tags`.team | 5
"""),
    orders=words("name | timestamp | last_updated_timestamp"),
    numerals=WHOLE,
)
VERSION = Grammar(
    texts=words("""
name | attribute.name | tags.team | tag.`team` | run_id | attribute.run_id | source_path |
tags.`mlflow.prompt.is_prompt`
"""),
    numbers=words("version_number | attribute.version_number"),
    lists=words("name | run_id | attribute.run_id"),
    nulls=[],
    odd=words("`name` | source | version | creation_timestamp | last_updated_timestamp | metrics.a | timestamp"),
    orders=words("name | version_number | creation_timestamp | attribute.last_updated_timestamp | `name`"),
    numerals=WHOLE,
)

TRACE = Grammar(
    texts=words("""
tags.team | tag.`a b` | tags."a b" | metadata.user | request_metadata.`user` | `metadata`.user | status | trace.status |
attributes.status | attribute.client_request_id | request_id | name | trace.name | run_id | attribute.run_id
"""),
    numbers=words("""
timestamp_ms | timestamp | execution_time | execution_time_ms | end_time | attributes.end_time_ms | trace.timestamp
"""),
    lists=words("status | trace.status | request_id | client_request_id"),
    nulls=words("tags.team | metadata.user | tag.`a b` | metadata.nobody"),
    odd=words("metrics.a | params.x | Tags.team | attr.status | run.status | experiment_id | colour | 5 | trace_id"),
    orders=words("timestamp | timestamp_ms | execution_time | status | request_id | name | tags.team | trace.end_time"),
    numerals=WHOLE,
)


@st.composite
def comparisons(draw: st.DrawFn, grammar: Grammar) -> str:
    """Draw a comparison whose parts go together."""
    kinds = [kind for kind in ("texts", "texts", "numbers", "lists", "nulls") if getattr(grammar, kind)]
    kind = draw(st.sampled_from(kinds))
    key = draw(st.sampled_from(getattr(grammar, kind)))
    if kind == "nulls":
        return f"{key} {draw(st.sampled_from(['IS NULL', 'IS NOT NULL', 'is null', 'is not null', 'Is Null']))}"
    if kind == "lists":
        return f"{key} {draw(st.sampled_from(['IN ', 'NOT IN ', 'in', 'not in ']))}{draw(LISTS)}"
    if kind == "numbers":
        return f"{key}{draw(SPACE)}{draw(NUMBER_OPERATORS)}{draw(SPACE)}{draw(grammar.numerals)}"
    operator = draw(TEXT_OPERATORS)
    space = draw(SPACE) if operator[0] in "=!" else " "
    return f"{key}{space}{draw(st.sampled_from([operator, operator.lower()]))}{draw(SPACE)}{draw(QUOTED)}"


@st.composite
def odd_comparisons(draw: st.DrawFn, grammar: Grammar) -> str:
    """Draw a comparison of parts that hardly go together."""
    key = draw(st.sampled_from(grammar.keys))
    return f"{key} {draw(STRANGE)} {draw(st.one_of(QUOTED, NUMBERS, ODD_NUMBERS, LISTS, ODD_LISTS, st.just('')))}"


@st.composite
def filters(draw: st.DrawFn, grammar: Grammar) -> str:
    """Draw a filter of a few comparisons, every other one with a fault."""
    parts = draw(st.lists(comparisons(grammar), min_size=1, max_size=3))
    fault = draw(st.sampled_from([""] * 5 + ["part", "part", "joint", "end", "damage", "brackets"]))
    if fault == "part":
        parts[draw(st.integers(0, len(parts) - 1))] = draw(odd_comparisons(grammar))
    joint = draw(ODD_JOINTS if fault == "joint" else JOINTS)
    text = joint.join(parts) + (draw(ODD_ENDS) if fault == "end" else "")
    if fault == "damage":
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(DAMAGE) + text[at + draw(st.integers(0, 2)) :]
    return f"({text})" if fault == "brackets" else text


def orders(grammar: Grammar) -> st.SearchStrategy[list[str]]:
    """Return a strategy of ``order_by``, most of them valid."""
    good = st.builds("{}{}".format, st.sampled_from(grammar.orders), DIRECTIONS)
    odd = st.builds("{}{}".format, st.sampled_from(grammar.keys), DIRECTIONS | ODD_DIRECTIONS)
    return st.lists(good, max_size=2) | st.lists(good | odd, max_size=3)
