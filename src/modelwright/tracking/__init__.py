"""Tracking: MLflow's experiments, runs, metrics, logged models and artifacts.

``experiments``, ``runs``, ``logging``, ``history``, ``logged_models``, ``search`` and ``files`` hold the use cases;
``entities`` what they are about, ``messages`` what callers say, ``answers`` how long answers may be, ``store`` how all
is kept: with ``records``, ``documents`` (which may be large), ``latest`` (the newest value of each metric) and
``points`` (packed batches of them); ``trainings`` what is done when the platform itself trained a model. Settled runs
are kept in ``parts`` made of ``columns``; ``reading`` fetches what a search needs of them, ``selection`` finds
what it asks for, and ``ordering`` turns pages. ``traces`` and ``spans`` hold what programs with language models
did, ``evaluation_datasets`` what they are to be asked; each has messages, entities and a store of its own.
"""
