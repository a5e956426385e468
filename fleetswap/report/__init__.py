"""What people read: tables in a terminal, the page of a run."""
