"""A validated configuration, put away small. Pure.

Models are as large as they are handy: those of 500 devices with 30 points each take 20 MiB, and a running agent
needs one again only when its driver crashed.
"""

import pickle
import zlib
from typing import Generic, TypeVar

from edge_agent.driver import DeviceModel

M = TypeVar("M", bound=DeviceModel)


class Packed(Generic[M]):  # noqa: PLW1641 - models have no hash either
    """A model that nobody looks at now; ``unpack`` returns an equal one each time. Equal if the models are."""

    def __init__(self, model: M) -> None:
        self._bytes = zlib.compress(pickle.dumps(model, pickle.HIGHEST_PROTOCOL))

    def unpack(self) -> M:
        """Return the model."""
        model: M = pickle.loads(zlib.decompress(self._bytes))  # noqa: S301 - packed by this process
        return model

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packed):
            return NotImplemented
        # The same text gives the same bytes nearly always; equal models may have been pickled otherwise.
        return self._bytes == other._bytes or bool(self.unpack() == other.unpack())
