"""The script language: read, compiled to operations, replayed, its dumps."""
