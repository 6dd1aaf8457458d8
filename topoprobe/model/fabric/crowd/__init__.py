"""Very many flows that depend on each other: what `arbiter` and `iteration` do, in arrays."""
