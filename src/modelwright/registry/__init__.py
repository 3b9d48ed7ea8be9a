"""The registry: MLflow's registered models and versions, and what it never had - gated transitions and history.

``models`` and ``versions`` hold MLflow's use cases, ``transitions`` who takes which alias and why,
``gates`` the gates we ship, ``reactions`` what follows from trainings and rollouts, ``views`` what people look
at; ``entities`` are the aggregates, ``messages`` what callers say, ``store`` how it is kept.

A model card: ``sections`` are what people write of a version, ``cardfacts`` what is known of it, ``cards`` the use
cases, ``cardtext`` the words, ``cardforms`` and ``markup`` Markdown and HTML.

The time machine: ``fold`` is what was so at a time, ``history`` the use cases, ``words`` each event in words,
``proofs`` what the log keeps of texts. Lineage: ``tracing`` is what tracking tells of a run, ``lineage`` and ``steps``
the graph.
"""
