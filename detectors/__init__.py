"""What the statistics see: columns in, findings out. No SQL, network, clock or logging."""
