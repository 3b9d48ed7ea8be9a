"""Tracking: MLflow's experiments, runs, metrics, logged models and artifacts.

``experiments``, ``runs``, ``logging``, ``logged_models``, ``search`` and ``files`` hold the use cases;
``entities`` what they are about, ``messages`` what callers say, ``store`` how it is kept, ``points`` how
metric points are packed, ``trainings`` what is done when the platform itself trained a model. Settled runs
are kept in ``parts`` made of ``columns``; ``reading`` fetches what a search needs of them, ``selection`` finds
what it asks for, and ``ordering`` turns pages.
"""
