"""How models do in production: as late labels tell, and as their own scores and inputs tell before labels come.

Read in this order: ``logbook`` (the prediction log) and ``packing`` (keeps it in few objects), ``joining`` (labels with
predictions), ``figures`` (of each version, by task), ``segments``, ``fairness`` and ``alike`` (groups),
``championing`` (windows), ``labelling`` (one model and labels of one upload), ``measuring`` (the use cases of labels),
``unlabelled`` (windows of predictions that wait for theirs), ``cbpe`` and ``dle`` (what estimates), ``attribution``
(what a model rests on), ``estimating`` (the use case of a schedule), ``showing``, ``records`` (the table).
"""

from modelwright.monitoring.performance.joining import LABELLED
from modelwright.monitoring.performance.measuring import follow_alias, follow_version, look_again, measure
from modelwright.monitoring.performance.packing import pack
from modelwright.monitoring.performance.showing import history

__all__ = ["LABELLED", "follow_alias", "follow_version", "history", "look_again", "measure", "pack"]
