"""Where everything of a device lies: words, arrays, counters, operations, tables; no code that runs on it."""
