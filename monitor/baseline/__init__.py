"""What the transferred model is held against: its losses, its scorers, the one trained here."""
