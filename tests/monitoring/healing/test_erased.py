"""Repaired files and the logs of repairs hold rows: an erasure takes a subject out of both."""

import pytest

from modelwright.errors import NotFound
from modelwright.events import QuarantineRepaired
from modelwright.features.erasing.naming import Names
from modelwright.features.erasing.places import Ground, Repairs
from modelwright.features.erasing.subjects import Ids, Subject
from monitoring.healing.test_repairing import PLAIN, ward_of
from monitoring.healing.test_rules import SOURCE, lines

NAMES = Names(prefixes=("sales/",), shapes=(frozenset(SOURCE.columns),))


@pytest.mark.parametrize("name", ["s-9005", "s-9999"])
@pytest.mark.parametrize("kind", ["cells", "rows"])
def test_a_subject_goes_from_a_repair_and_the_log_that_holds_its_cells_with_it(kind: str, name: str) -> None:
    header, *rows = lines().splitlines(keepends=True)
    older = rows[5].replace(b"2026-03-05T05:05:00", b"2026-03-05T05:01:00")
    commas = lines(degrees=lambda cell, n: f'"{cell.replace(".", ",")}"' if n in (5, 7) else cell)
    ward = ward_of(PLAIN)
    ward.land("sales/9.csv", commas if kind == "cells" else b"".join([header, older, *rows]))
    ward.heal("sales")
    (told,) = ward.events(QuarantineRepaired, "sales")
    subject = Subject(entity="sale", columns={"id": name}, mark="erased-1")
    ground = Ground("1", "default", subject, Ids(()), set(), ward.tables, ward.blobs, NAMES)
    place = Repairs(ground, "repaired", "lake", "repaired/default/")
    found, _ = place.search("")
    place.clean(found)
    left = ward.blobs.get("lake", told.repaired_key).body
    assert left == b"".join(line for line in (header, *rows) if name.encode() not in line)
    if name == "s-9999":
        assert ward.blobs.get("lake", told.log_key).body, "nobody was erased"
    else:
        with pytest.raises(NotFound):
            ward.blobs.get("lake", told.log_key)
