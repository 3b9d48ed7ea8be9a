"""What people see of a model's performance: measured windows, and what is estimated while labels are missing."""

from modelwright.context import Call
from modelwright.monitoring import store
from modelwright.monitoring.performance import records
from modelwright.project import load_current
from modelwright.storage import Tables


def history(call: Call, model: str, *, tables: Tables, limit: int = 100) -> dict[str, object]:
    """Return a model's champion, its measured windows and its estimated ones, newest first; raises ``NotFound``."""
    call.authorise("monitoring:read", f"model/{model}")
    load_current(tables, call.workspace).model(model)
    champion = store.champion_of(tables, call.workspace, model)
    windows = store.measured_windows(tables, call.workspace, model, limit)
    estimated = records.estimated_windows(tables, call.workspace, model, limit)
    return {
        "model": model,
        "champion": champion.version if champion else None,
        "champion_since": champion.since.isoformat() if champion else None,
        "windows": [{"at": one.at.isoformat(), **one.measured.model_dump(mode="json")} for one in windows],
        "unfair": list(records.standing_of(tables, call.workspace, model).broken),
        "estimates": [one.model_dump(mode="json") for one in estimated],
    }
