"""Tries a team's model on a sample of its data, in this process: what a pull request would bring, before it is merged.

Nothing is pretended: the sample goes through the same quality checks, features, training and gates as
everything that lands in a deployed stack, over tables and buckets in memory. ``rehearsal`` does that, and
``report`` says in Markdown what came of it.
"""
