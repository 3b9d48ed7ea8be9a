"""Carries one version of a registered model from a stack to another, or into a file and out of it.

Read ``carrying`` first. ``bundle`` is the file, ``stack`` either end over HTTP, ``addresses`` says how a team's stacks
are called. What is carried is checked twice: here, on its way, and by the target, where it lies.
"""
