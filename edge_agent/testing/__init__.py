"""Public test kit: what a driver's author, and our own tests, check their work with. Never imported by the agent."""
