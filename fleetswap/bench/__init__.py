"""How fast it is: event rates, the C reference, models of GPUs."""
