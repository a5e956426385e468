"""One way to run: fleets, comparisons and sweeps are planned, worked off by a crew, and merged into a directory."""
