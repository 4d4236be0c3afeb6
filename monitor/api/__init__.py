"""HTTP: bodies in, records out. One file a group of routes."""
