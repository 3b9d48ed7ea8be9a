"""The feature store: each feature has one implementation, served point in time and online.

Light modules (``layout rows plan windows latest online push serving``) are plain Python on the
standard library; ``history offline materialization datasets frames`` need numpy and pyarrow.
"""
