"""Device logic: scalar functions written once for every target, of numbers and memory."""
