"""Public test kit: what a driver's author checks a driver with, and what our own tests use. Not for the agent."""
