"""Console: what a person looks at, and the read API of the same facts."""
