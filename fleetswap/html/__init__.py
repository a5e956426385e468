"""The HTML report of a run or a comparison: one file for people who decide."""
