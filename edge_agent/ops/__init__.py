"""Watching and operating a running agent: metrics, health, status, logs, the service manager."""
