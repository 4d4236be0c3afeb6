"""Mappings between source and domain: written by people, looked at, kept to by rows."""
