"""The demo: real flights through a real daemon, two faults on the way."""
