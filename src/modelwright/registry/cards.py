"""Model cards: generated from what is known of a version, with sections that people write, every revision kept.

The text of a section lies in the registry's own table, where it can be erased; the log has a salted digest of it.
"""

from typing import Any

from modelwright.context import Call
from modelwright.errors import ConditionFailed, Conflict, InvalidInput
from modelwright.events import CardChanged
from modelwright.log import Log
from modelwright.once import Once
from modelwright.project import GatePolicy
from modelwright.registry.cardfacts import gather, project_of
from modelwright.registry.entities import ModelVersion, RegisteredModel, checked_alias, checked_name, is_number
from modelwright.registry.messages import OfCard, ReadCard, WriteCard
from modelwright.registry.models import writable
from modelwright.registry.sections import Card
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Tables


def sections(call: Call, model: RegisteredModel, version: ModelVersion, *, tables: Tables) -> frozenset[str]:
    """Return the names of the card's sections that people wrote, or confirmed, for this version; one read.

    What was carried over from an earlier version and not confirmed does not count.
    """
    return RegistryStore(tables, call).card(model, version.version).written


def write(call: Call, message: WriteCard, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Write or confirm sections: the card's next revision. The same request again makes no other one.

    Raises:
        Conflict: the writer knows an older revision than the newest, which the text names.
    """
    store, once = RegistryStore(tables, call), Once.of(call, "cards/write", message, TABLE)
    model = writable(call, message.name, store)
    version = resolved(model, message, store)
    if (made := once.made(tables)) is not None:
        return people(_made(store, model, made))
    if not message.sections and not message.confirm:
        raise InvalidInput("a card is written by `sections` (texts by name), or by `confirm` (names)")
    before = store.card(model, version.version)
    if message.revision is not None and message.revision != before.revision:
        what = f"the card of {model.name} v{version.version} is at revision {before.revision}"
        raise Conflict(f"{what}, not {message.revision}: read it again, then write")
    card = before.having(call, message.sections, message.confirm)
    if card is before:
        return people(card)
    event = CardChanged(
        model=model.name,
        version=version.version,
        revision=card.revision,
        sections=card.changed_since(before),
        digest=card.digest,
    )
    writes = [*store.put_card(model, card), *once.mark(f"{card.version} {card.revision}")]
    try:
        log.commit(call, [store.happened(model, event)], writes)
    except ConditionFailed:
        if (made := once.made(tables)) is None:
            raise
        card = _made(store, model, made)
    return people(card)


def show(call: Call, message: ReadCard, *, tables: Tables, log: Log, tier: str) -> dict[str, Any]:
    """Return a version's card as JSON: what people wrote as of a revision, and what the platform knows now.

    ``missing`` are the sections that the model's policy wants and nobody wrote, or confirmed, for this version.
    """
    store = RegistryStore(tables, call)
    model, version = readable(call, message, store)
    card, project = store.card(model, version.version, message.revision), project_of(call, tables)
    declared = project.models.get(model.name) if project else None
    policy = declared.policy(tier) if declared else GatePolicy()
    return {
        "model": model.name,
        **people(card),
        "missing": [name for name in policy.card if name not in card.written],
        "generated": gather(call, model, version, project, tables=tables, log=log),
        "generated_at": call.now.isoformat(),
    }


def revisions(call: Call, message: OfCard, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the revisions of what people wrote, newest first, without their texts."""
    model, version = readable(call, message, RegistryStore(tables, call))
    cards = RegistryStore(tables, call).cards(model, version.version)
    later = [*cards[1:], Card(version=version.version)][: len(cards)]
    listed = [
        {"revision": c.revision, "at": c.at and c.at.isoformat(), "by": c.by, "digest": c.digest}
        | {"sections": sorted(c.sections), "changed": list(c.changed_since(before))}
        for c, before in zip(cards, later, strict=True)
    ]
    return {"model": model.name, "version": version.version, "revisions": listed}


def readable(call: Call, message: OfCard, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion]:
    """Return a model and its version that the caller may read; raises ``NotFound``."""
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    return model, resolved(model, message, store)


def resolved(model: RegisteredModel, message: OfCard, store: RegistryStore) -> ModelVersion:
    """Return the version that a number, or ``@`` and an alias, names.

    Raises:
        InvalidInput: it is neither, or nothing has this alias.
        NotFound: there is no such version.
    """
    said = message.version
    if said.startswith("@"):
        return store.version(model, model.version_of(checked_alias(said[1:])))
    if not is_number(said):
        raise InvalidInput(f"a version is a number, or @ and an alias, not {said!r}")
    return store.version(model, int(said))


def people(card: Card) -> dict[str, Any]:
    """Return what people wrote, with what one needs to check it against the log's digest."""
    said = card.model_dump(mode="json", exclude={"sections", "by", "at", "version"})
    shown = {name: section.model_dump(mode="json") for name, section in card.ordered()}
    changed = {"changed_by": card.by, "changed_at": card.at and card.at.isoformat()}
    return {"version": card.version, **said, **changed, "digest": card.digest, "sections": shown}


def _made(store: RegistryStore, model: RegisteredModel, made: str) -> Card:
    version, _, revision = made.partition(" ")
    return store.card(model, int(version), int(revision))
