"""Everything that leaves: couriers, the guarded clients, the table of refused addresses."""
