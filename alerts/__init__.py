"""Decide what people are told, word it, prepare it for a channel. Pure: nothing is sent here."""
