"""River's detectors over the ticks of one signal. They file tickets, outside the budget."""
