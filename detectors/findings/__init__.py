"""Contrasts between a reference and a current window: what a diagnosis is read from."""
