"""The twelve planted defects: the healable ones come back to the true bytes, about the others a person is asked."""

import pyarrow as pa
import pytest

from modelwright.events import QualityFailed, QuarantineRepaired, RepairAsked, UploadAccepted
from modelwright.monitoring.healing import original_of
from modelwright.monitoring.reading import parquet_table, read_rows
from modelwright.monitoring.rows import codes_of
from modelwright.monitoring.store import closed_quarantine
from monitoring.defects import BASES, DEFECTS, Base, Defect
from monitoring.healing.ward import Ward

RULES = {
    "type_flip": "type_coercion@1",
    "unit_change": "unit_change@1",
    "duplicate_keys": "deduplication@1",
    "late": "late_file@1",
    "swapped_columns": "swapped_columns@1",
    "encoding": "encoding@1",
    "renamed_column": "renamed_column@1",
}
ASKED = sorted(set(DEFECTS) - set(RULES))


def planted(base: Base, defect: Defect) -> Ward:
    ward = Ward(base.project)
    for number, body in enumerate(base.files()):
        ward.arrive(f"{base.source.prefix}{number}.csv", body, base.landed)
    ward.arrive(f"{base.source.prefix}bad.csv", defect.body, base.landed)
    ward.heal(base.name)
    return ward


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("on", BASES)
def test_a_healable_defect_comes_back_to_the_true_bytes(on: str, name: str) -> None:
    base = BASES[on]()
    defect = DEFECTS[name](base)
    ward = planted(base, defect)
    (told,) = ward.events(QuarantineRepaired, base.name)
    assert told.rules == (RULES[name],)
    assert ward.blobs.get("lake", told.repaired_key).body == defect.truth
    rows = [parquet_table(ward.blobs.get("lake", one.key).body) for one in _of(ward, base)]
    truth = read_rows(defect.truth, base.source).typed
    codes = codes_of(pa.concat_tables([truth, *rows]).combine_chunks())
    assert sorted(codes[: truth.num_rows]) == sorted(codes[truth.num_rows :]), "all of the truth went on, once"
    held = closed_quarantine(ward.tables, "default", told.quarantine_id)
    assert original_of(held, ward.shop()) == defect.body, "the repair's log alone gives back what landed"


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("on", BASES)
def test_about_an_ambiguous_defect_a_person_is_asked(on: str, name: str) -> None:
    base = BASES[on]()
    ward = planted(base, DEFECTS[name](base))
    (failed,) = ward.events(QualityFailed, base.name)
    (asked,) = ward.events(RepairAsked, base.name)
    assert asked.quarantine_id == failed.quarantine_id
    assert not ward.events(QuarantineRepaired, base.name)


def _of(ward: Ward, base: Base) -> list[UploadAccepted]:
    return [one for one in ward.events(UploadAccepted, base.name) if "bad.csv" in one.upload_key]
