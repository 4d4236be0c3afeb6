"""The only SQL: session in, records out. Start at `engine.open_database`."""
