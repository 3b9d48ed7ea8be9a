"""What joins features to rows as of their times: an engine, chosen by name; all give the same answers.

``arrow`` works in this process, ``spark`` on a cluster. A team may install its own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from modelwright import plugins
from modelwright.features.plan import Load
from modelwright.project import Project, Service

if TYPE_CHECKING:
    import pyarrow as pa

    from modelwright.features.history import History

DEFAULT = "arrow"


class Engine(Protocol):
    """Joins features to rows; made without arguments, keeps no state that answers depend on."""

    def historical(
        self,
        project: Project,
        service: Service,
        rows: "pa.Table",
        *,
        history: "History",
        workspace: str,
        load: Load,
        available: bool = True,
    ) -> "pa.Table":
        """Return rows with the service's inputs as columns, each as of the row's ``time_column``.

        Order and duplicates are kept. Rows whose time or join key is null get nulls. Inputs that are
        request columns stay as they are; columns of the same name as another input are replaced.

        Args:
            project: the definitions.
            service: the feature service.
            rows: hold its request columns.
            history: the versions of the sources' rows.
            workspace: whose.
            load: gives the row functions of the team's code.
            available: whether a version counts only from when it became known until the next one did. If not,
                the newest version of each row counts, from its event time: what became known late leaks.

        Raises:
            InvalidInput: a request column is missing or of another type.
        """
        ...


Make = Callable[[], Engine]


def engine(name: str) -> Engine:
    """Return the installed engine of that name; raises ``PluginError``."""
    make: Make = plugins.load("engines", name)
    return make()
