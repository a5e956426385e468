"""The backend cpu."""
