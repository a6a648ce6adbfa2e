"""Who did what to this agent and its data: a log whose entries are chained by their hashes."""
