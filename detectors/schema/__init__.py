"""Is a column still the column it was? One file a check; `check_schema` runs them all."""
