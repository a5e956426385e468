"""Speed: event rates, the C reference, models of GPUs."""
