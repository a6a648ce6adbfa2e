"""Publish: see docs/adr and the modules of this folder."""
