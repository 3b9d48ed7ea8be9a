"""Copies tracking and registry between this platform and any MLflow server, database or folder.

Read ``sides`` first: what either end can say and be told. ``theirs`` and ``ours`` are the two ends,
``copying`` goes from one to the other, and ``tally`` says in the end whether all of it is there.
The journal of a copy is the target itself: each run, logged model and version is made together
with tags that name what it is a copy of. So nothing else has to be kept, a copy can be resumed from
any machine, and what is said to be done cannot differ from what is there.
"""
