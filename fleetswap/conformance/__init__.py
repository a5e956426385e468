"""What a real kernel did and what was published, beside what is simulated."""
