"""The demo: real flights through a real daemon, three faults on the way, and people who answer."""
