"""The proof that serving and training agree: from a request, through what was served and recomputed, to the report."""
