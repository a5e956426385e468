"""A run directory from its plan to the finished files, whoever does the work."""
