"""Pages for people: the fleet, a domain's report, incidents. No scripts, one nonce for style."""
