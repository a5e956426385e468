"""Scenarios: fleets, policies, experiments and costs, read from files and checked once."""
