"""The baseline that Kedge trains itself, from scratch, on a domain's own labels."""
