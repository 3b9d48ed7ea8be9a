"""The demo project: what a team keeps in its own repository."""
