"""Other tools' choices and thresholds, faults included, for people who move over and want to see the same alarms.

``DriftPolicy.compatibility`` names one. Its verdict takes the place of ours: nothing is corrected for how many columns
are compared, no floor is applied but the tool's, and one window is enough. Where a tool raises, the column has no
verdict, and its text is the error.

==============  =======================================================================================
``evidently``   ``evidently``: a distance above 1,000 reference rows, else a test
``nannyml``     ``nannyml`` and ``multivariate``: Jensen-Shannon, missing and unseen values against chunks
``sagemaker``   ``sagemaker`` and ``documents``: L-infinity, completeness, types, domains
``binning``     bins and distances; ``samples``: tests; ``cells``: columns as arrays
==============  =======================================================================================
"""

from modelwright.monitoring.compatibility.judging import DATASET_SHARES, judge

__all__ = ["DATASET_SHARES", "judge"]
