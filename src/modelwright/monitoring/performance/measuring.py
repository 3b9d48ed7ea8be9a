"""The use cases of labels: join them with the predictions they belong to, measure, and say when a champion got worse.

Each model that an upload labels is measured and committed for itself, once per delivery. Champion and time of its
promotion come from ``AliasChanged``; while none was heard, the version that answered as champion most often is taken.
"""

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, NotFound
from modelwright.events import AliasChanged, Delivery, ModelVersionCreated, UploadAccepted
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import store
from modelwright.monitoring.performance import records
from modelwright.monitoring.performance.labelling import WAIT, Ground, Labelling
from modelwright.monitoring.performance.logbook import Partitions
from modelwright.monitoring.performance.records import Unjoined
from modelwright.monitoring.performance.turns import in_turn
from modelwright.project import load_current
from modelwright.storage import Blobs, Tables


def measure(delivery: Delivery, call: Call, *, tables: Tables, log: Log, blobs: Blobs) -> None:
    """Join an accepted upload of labels with the predictions of each model that it labels.

    Again, after one of them failed, it goes on with those that are not measured yet.

    Raises:
        AlreadyHandled: the delivery came before.
    """
    event: UploadAccepted = delivery.event
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        return
    models = [name for name, model in project.models.items() if model.label.source == event.source]
    if not models:
        return
    if log.handled("monitoring", delivery):
        raise AlreadyHandled(f"monitor joined the labels of {event.upload_key} before")
    ground = Ground(call, project, tables, blobs)
    upload = Unjoined(
        **event.model_dump(include={"source", "upload_key", "upload_version", "digest", "key", "window"}),
        until=call.now + WAIT,
    )  # fmt: skip

    def of_model(name: str) -> None:
        mine = delivery.model_copy(update={"consumer": f"{delivery.consumer}/{name}"})
        if log.handled("monitoring", mine):
            return
        answers = Partitions(blobs, call.workspace, name)
        try:
            _commit(ground, name, Labelling(ground, name, upload, answers), log, mine)
        except AlreadyHandled:  # by somebody who was sent the same at the same time
            return

    in_turn(models, of_model)
    log.commit(call, [], delivery=delivery, table="monitoring")


def look_again(call: Call, *, tables: Tables, log: Log, blobs: Blobs) -> None:
    """Join labels whose predictions came after them; those that waited for too long are given up."""
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        return
    ground = Ground(call, project, tables, blobs)

    def of_model(name: str) -> None:
        answers = Partitions(blobs, call.workspace, name)
        for waiting in sorted(records.unjoined(tables, call.workspace, name), key=lambda one: one.days):
            if waiting.until < call.now or project.model(name).label.source != waiting.source:
                tables.write([records.forget_unjoined(call.workspace, name, waiting.digest)])
                continue
            if answers.seen(waiting.days) == waiting.seen:
                continue
            try:
                _commit(ground, name, Labelling(ground, name, waiting, answers), log, None)
            except NotFound:  # the labels are gone: erased, or taken back
                tables.write([records.forget_unjoined(call.workspace, name, waiting.digest)])

    in_turn(project.models, of_model)


def follow_alias(delivery: Delivery, call: Call, *, tables: Tables, log: Log) -> None:
    """Take over a new champion: its reference performance begins at the event's time, however late the event comes."""
    event: AliasChanged = delivery.event
    if event.alias != "champion":
        return
    before = store.champion_of(tables, call.workspace, event.model)
    envelope = delivery.envelope
    if before is not None and (before.since, before.sequence) >= (envelope.at, envelope.sequence):
        return
    champion = store.Champion(version=event.version, since=envelope.at, sequence=envelope.sequence)
    write = store.put_champion(call.workspace, event.model, champion, before)
    log.commit(call, [], [write], delivery=delivery, table="monitoring")


def follow_version(delivery: Delivery, call: Call, *, tables: Tables) -> None:
    """Remember where a new version's model lies: what it rests on is asked of itself. Again is the same."""
    event: ModelVersionCreated = delivery.event
    tables.write([records.put_artifact(call.workspace, event)])


def _commit(ground: Ground, name: str, labelling: Labelling, log: Log, delivery: Delivery | None) -> None:
    events, writes = labelling.measured()
    stream = stream_of(ground.call.workspace, "PERFORMANCE", name)
    happened = [Happened(stream, event) for event in events]
    log.commit(ground.call, happened, writes, delivery=delivery, table="monitoring")
