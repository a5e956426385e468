"""Memory pressure: room for a fault, reclaim, the low-memory killer."""
