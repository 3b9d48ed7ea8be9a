"""When to train again, at what price, and the training itself."""
