"""Insights: incidents that open and close, and what the platform knows at a glance."""
