"""The report of a window, for people (``page``: one HTML file that asks nobody else) and programs (``document``).

``report_of`` says what is in it, from profiles, verdicts and the windows before; both forms show the same figures.
"""

from modelwright.monitoring.report.building import report_of
from modelwright.monitoring.report.contents import ColumnReport, PastWindow, Shape, WindowReport
from modelwright.monitoring.report.page import document, page

__all__ = ["ColumnReport", "PastWindow", "Shape", "WindowReport", "document", "page", "report_of"]
