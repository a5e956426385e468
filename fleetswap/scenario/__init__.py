"""What is asked: fleets, policies, experiments, costs; read from files and checked once."""
