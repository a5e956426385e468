"""What a phone does: boot, apps, switches, background work."""
