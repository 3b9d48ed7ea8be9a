"""Governance: who may do what, and the proof of what was done."""
