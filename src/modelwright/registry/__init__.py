"""The registry: MLflow's registered models and versions, and what it never had - gated transitions and history.

``models`` and ``versions`` hold MLflow's use cases, ``transitions`` who takes which alias and why,
``gates`` the gates we ship, ``reactions`` what follows from trainings and rollouts, ``views`` what people look
at; ``entities`` are the aggregates, ``messages`` what callers say, ``store`` how it is kept.
"""
