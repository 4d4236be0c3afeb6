"""Mappings between a source and a domain: in words, put on rows, and held to afterwards."""
