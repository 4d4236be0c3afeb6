"""Incidents while the wall clock runs: deeds of people, the desk, groups, arrivals."""
