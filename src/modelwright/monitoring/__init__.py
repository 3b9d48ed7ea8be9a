"""Quality first, then profiles, drift and performance: whether what arrives can be believed, and what it says.

Read in this order: ``reading`` (bytes to typed rows), ``rows`` (checks of single rows), ``profiles``, ``checks`` (of
whole files, against what was accepted before), ``verdict`` and ``watching`` (drift of windows), ``uploads`` (the use
case of an upload), ``performance`` (the use case of labels), ``store`` (the table).
"""
