"""Pull sources: where rows lie already. One file a kind."""
