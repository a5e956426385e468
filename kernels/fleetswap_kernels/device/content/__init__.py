"""What pages hold and what it compresses to."""
