"""What results mean: paired comparisons, sweeps, Pareto fronts, explanations."""
