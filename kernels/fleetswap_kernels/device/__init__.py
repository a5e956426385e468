"""Device logic: what the kernel and a phone do, in scalar functions for every target."""
