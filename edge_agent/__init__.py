"""edge-agent: connects factory machines to the cloud and loses no reading on the way."""

__version__ = "0.1.0"
