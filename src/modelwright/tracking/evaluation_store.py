"""How evaluation datasets are kept.

=======  ====================================  ==========================  =======================================
entity   pk                                    sk                          access pattern
=======  ====================================  ==========================  =======================================
dataset  ``WS#<ws>#EVALUATION_DATASETS``       ``<id>``                    get; search
page     ``WS#<ws>#EVALUATION_DATASET#<id>``   ``<version>-<content id>``  records, in the order of the dataset
=======  ====================================  ==========================  =======================================

A dataset is a JSON document (``documents``) under an optimistic version (``v``), and names its pages in order. A page
is a JSON list of records, with their ids apart (``ids``, 16 bytes each), and is never changed: who changes records
writes other pages, which nobody sees before the dataset names them. So any number of records changes at once or not
at all. A page's id begins with the version that is to name it, so that one that was replaced never comes back; it is
removed afterwards, and who was just about to read it begins again. Pages that were written in vain go with the
dataset. What is too long for an item is an object below ``tracking/<ws>/evaluation_datasets/<id>/``.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from modelwright.context import Call
from modelwright.errors import ConditionFailed, NotFound, TooLarge
from modelwright.storage import Absent, Anything, Blobs, Delete, Is, Item, Key, Put, Tables, every
from modelwright.tracking import documents
from modelwright.tracking.answers import DOCUMENT_BYTES, dumped, escaped
from modelwright.tracking.evaluation_entities import EvaluationDataset, Page, Record
from modelwright.tracking.records import TABLE

PAGE_RECORDS: Final = 200
PAGE_BYTES: Final = 250_000
RECORD_BYTES: Final = 5_000_000
"""A record is told in JSON, within JSON, within the gateway's JSON."""
_ID = "dr-"
_ID_BYTES: Final = 16
_TOGETHER: Final = 50


class EvaluationStore:
    """Reads of one workspace's evaluation datasets, and the writes that a use case commits."""

    def __init__(self, tables: Tables, call: Call, blobs: Blobs) -> None:
        self._tables = tables
        self._blobs = blobs
        self._workspace = call.workspace

    def dataset(self, dataset_id: str, *, deleted: bool = False) -> EvaluationDataset:
        """Return a dataset (one that is just being deleted only if asked for); raises ``NotFound``."""
        item = self._tables.get(TABLE, self._key(dataset_id))
        found = self._load(item) if item else None
        if found is None or (found.deleted and not deleted):
            raise NotFound(f"Evaluation dataset with id '{dataset_id}' not found")
        return found

    def datasets(self) -> Iterator[EvaluationDataset]:
        """Yield all datasets in the order of their ids."""
        for item in every(self._tables, TABLE, self._all()):
            if not (found := self._load(item)).deleted:
                yield found

    def put(self, dataset: EvaluationDataset) -> Put:
        """Return the write of a dataset that is new or changed; raises ``TooLarge``."""
        document = dataset.model_dump_json(exclude_defaults=True)
        if max(len(document.encode()), escaped(dumped(dataset.answer()))) > DOCUMENT_BYTES:
            raise TooLarge(
                f"the evaluation dataset {dataset.dataset_id} would have more than {DOCUMENT_BYTES} bytes of tags, "
                "fields and pages: divide it"
            )
        kept = documents.written(document, self._folder(dataset), self._blobs)
        item = {**self._key(dataset.dataset_id)._asdict(), **kept, "v": dataset.v + 1}
        return Put(TABLE, item, Is("v", dataset.v) if dataset.v else Absent())

    def places(self, dataset: EvaluationDataset) -> dict[str, int]:
        """Return, by the ids of all records, the number of the page that each is on."""
        items = self._items(dataset, dataset.pages, ("ids",))
        found: dict[str, int] = {}
        for number, item in enumerate(items):
            ids = bytes(item["ids"])
            found |= {_ID + ids[at : at + _ID_BYTES].hex(): number for at in range(0, len(ids), _ID_BYTES)}
        return found

    def records(self, dataset: EvaluationDataset, pages: Sequence[Page]) -> list[list[Record]]:
        """Return the records of each page.

        Raises:
            ConditionFailed: the dataset changed since it was read.
        """
        items = self._items(dataset, pages)
        try:
            texts = [documents.read(item, self._blobs) for item in items]
        except NotFound as error:
            raise ConditionFailed(f"the records of {dataset.dataset_id} changed meanwhile", ()) from error
        return [[Record.model_validate(record) for record in json.loads(text)] for text in texts]

    def put_pages(self, dataset: EvaluationDataset, edited: Mapping[int, Sequence[Record]]) -> tuple[Page, ...]:
        """Write pages, which nobody sees yet, and return all pages of the dataset as it will be.

        Args:
            dataset: as it is.
            edited: what is on pages from now on, by their numbers; the number after the last one adds pages.
        """
        pages: list[Page] = []
        for number in range(len(dataset.pages) + 1):
            if number in edited:
                pages += [self._put_page(dataset, some) for some in _divided(edited[number])]
            else:
                pages += dataset.pages[number : number + 1]
        return tuple(pages)

    def drop_pages(self, dataset: EvaluationDataset, after: EvaluationDataset) -> None:
        """Remove the pages that a dataset had and has no more."""
        stay = {page.id for page in after.pages}
        gone = [page for page in dataset.pages if page.id not in stay]
        self._delete([self._page_key(dataset, page.id) for page in gone])
        self._empty(f"{self._folder(dataset)}{page.id}/" for page in gone if page.size > PAGE_BYTES)

    def forget(self, dataset: EvaluationDataset) -> None:
        """Remove all of a dataset, itself last; the same however often it is done."""
        self._delete([Key(item["pk"], item["sk"]) for item in every(self._tables, TABLE, self._of(dataset))])
        self._empty([self._folder(dataset)])
        self._delete([self._key(dataset.dataset_id)])

    def _put_page(self, dataset: EvaluationDataset, some: Sequence[tuple[Record, str]]) -> Page:
        document = f"[{','.join(text for _, text in some)}]"
        page_id = f"{dataset.v + 1:010d}-{hashlib.sha256(document.encode()).hexdigest()[:32]}"
        kept = documents.written(document, f"{self._folder(dataset)}{page_id}/", self._blobs)
        ids = b"".join(bytes.fromhex(record.dataset_record_id.removeprefix(_ID)) for record, _ in some)
        self._tables.write([Put(TABLE, {**self._page_key(dataset, page_id)._asdict(), **kept, "ids": ids}, Anything())])
        return Page(id=page_id, last=some[-1][0].number, records=len(some), size=len(document))

    def _items(self, dataset: EvaluationDataset, pages: Sequence[Page], attributes: Sequence[str] = ()) -> list[Item]:
        keys = [self._page_key(dataset, page.id) for page in pages]
        found = self._tables.batch_get(TABLE, keys, attributes) if keys else {}
        if len(found) < len(keys):
            raise ConditionFailed(f"the records of {dataset.dataset_id} changed meanwhile", ())
        return [found[key] for key in keys]

    def _delete(self, keys: Sequence[Key]) -> None:
        for first in range(0, len(keys), _TOGETHER):
            self._tables.write([Delete(TABLE, key, Anything()) for key in keys[first : first + _TOGETHER]])

    def _empty(self, folders: Iterable[str]) -> None:
        for folder in folders:
            if keys := [each.key for each in self._blobs.list(documents.BUCKET, folder)]:
                self._blobs.delete_many(documents.BUCKET, keys)

    def _load(self, item: Item) -> EvaluationDataset:
        document = documents.read(item, self._blobs)
        return EvaluationDataset.model_validate_json(document).model_copy(update={"v": int(item["v"])})

    def _folder(self, dataset: EvaluationDataset) -> str:
        return f"tracking/{self._workspace}/evaluation_datasets/{dataset.dataset_id}/"

    def _all(self) -> str:
        return f"WS#{self._workspace}#EVALUATION_DATASETS"

    def _of(self, dataset: EvaluationDataset) -> str:
        return f"WS#{self._workspace}#EVALUATION_DATASET#{dataset.dataset_id}"

    def _key(self, dataset_id: str) -> Key:
        return Key(self._all(), dataset_id)

    def _page_key(self, dataset: EvaluationDataset, page_id: str) -> Key:
        return Key(self._of(dataset), page_id)


def text_of(record: Record, dataset_id: str) -> str:
    """Return a record as callers read it, in ASCII."""
    return json.dumps(record.answer(dataset_id))


def told_bytes(text: str) -> int:
    """Return how many bytes a record's text takes of an answer: there it is a string in a string."""
    return len(text) + 3 * (text.count('"') + text.count("\\"))


def _text(record: Record) -> str:
    """Return a record as it is kept; one that is too long for an answer is refused."""
    if (size := told_bytes(text_of(record, "d-" + "0" * 32))) > RECORD_BYTES:
        raise TooLarge(f"a record would take {size} bytes of an answer, more than {RECORD_BYTES}: log files instead")
    return json.dumps(record.model_dump(), separators=(",", ":"))


def _divided(records: Sequence[Record]) -> Iterator[Sequence[tuple[Record, str]]]:
    """Yield records, each with its text, in pages."""
    page: list[tuple[Record, str]] = []
    size = 0
    for record in records:
        text = _text(record)
        if page and (len(page) == PAGE_RECORDS or size + len(text) > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append((record, text))
        size += len(text)
    if page:
        yield page


def half_empty(page: Page) -> bool:
    """Say whether more records had better go onto a page too."""
    return page.records * 2 < PAGE_RECORDS and page.size * 2 < PAGE_BYTES
