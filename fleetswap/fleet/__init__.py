"""A fleet simulated: shards of devices, metrics, results."""
