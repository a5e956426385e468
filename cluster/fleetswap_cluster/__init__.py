"""A fleet over many shards and many machines: plan, worker, ledger, backends, merge."""
