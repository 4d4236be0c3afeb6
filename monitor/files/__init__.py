"""Tables in files: which column plays which part, reference windows, two tables compared."""
