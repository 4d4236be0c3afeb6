"""History run as if live, with changes put in on purpose."""
