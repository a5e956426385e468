"""The backend cuda."""
