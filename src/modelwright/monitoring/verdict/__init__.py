"""The drift verdict of a window: evidence that a source changed, never a reason to retrain by itself.

``comparing`` asks detectors about columns, ``correction`` corrects for how many were asked, ``judging`` says what
drifts, ``explaining`` in which words, ``segments`` splits rows, ``sensitivity`` says beforehand what would be found.
"""

from modelwright.monitoring.verdict.correction import adjusted, benjamini_hochberg, hierarchical
from modelwright.monitoring.verdict.judging import Seen, Together, Verdict, enough, judge

__all__ = ["Seen", "Together", "Verdict", "adjusted", "benjamini_hochberg", "enough", "hierarchical", "judge"]
