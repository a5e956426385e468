"""What runs devices: the contract of backends, how one is chosen, arenas of devices, tallies."""
