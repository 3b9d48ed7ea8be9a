"""Feast for those who have it: its repositories read, its registry written, its offline store served."""
