"""Decide what people are told, word it, and prepare it for a channel. Pure: nothing is sent here."""
