"""Quality of a reading: an OPC UA StatusCode, 32 bit (OPC 10000-4 §7.39).

The two top bits are the severity (00 Good, 01 Uncertain, 10 Bad). Drivers of other protocols map their
errors to the same codes; what a server reports is kept untouched.
"""

from enum import IntEnum

SEVERITY_MASK = 0xC000_0000
_BAD = 0x8000_0000


class Quality(IntEnum):
    """The StatusCodes that the agent itself assigns (values: OPC 10000-6 annex A.2)."""

    GOOD = 0x0000_0000
    UNCERTAIN = 0x4000_0000
    UNCERTAIN_LAST_USABLE_VALUE = 0x4090_0000
    UNCERTAIN_ENGINEERING_UNITS_EXCEEDED = 0x4094_0000
    BAD = 0x8000_0000
    BAD_INTERNAL_ERROR = 0x8002_0000
    BAD_COMMUNICATION_ERROR = 0x8005_0000
    BAD_ENCODING_ERROR = 0x8006_0000
    BAD_DECODING_ERROR = 0x8007_0000
    BAD_ENCODING_LIMITS_EXCEEDED = 0x8008_0000
    BAD_TIMEOUT = 0x800A_0000
    BAD_SERVICE_UNSUPPORTED = 0x800B_0000
    BAD_NO_COMMUNICATION = 0x8031_0000
    BAD_INDEX_RANGE_NO_DATA = 0x8037_0000
    BAD_WAITING_FOR_INITIAL_DATA = 0x8032_0000
    BAD_NODE_ID_INVALID = 0x8033_0000
    BAD_NODE_ID_UNKNOWN = 0x8034_0000
    BAD_OUT_OF_RANGE = 0x803C_0000
    BAD_NOT_SUPPORTED = 0x803D_0000
    BAD_NOT_READABLE = 0x803A_0000
    BAD_DATA_ENCODING_UNSUPPORTED = 0x8039_0000
    BAD_TYPE_MISMATCH = 0x8074_0000
    BAD_CONFIGURATION_ERROR = 0x8089_0000
    BAD_NOT_CONNECTED = 0x808A_0000
    BAD_DEVICE_FAILURE = 0x808B_0000
    BAD_SENSOR_FAILURE = 0x808C_0000
    BAD_OUT_OF_SERVICE = 0x808D_0000
    BAD_NO_DATA = 0x809B_0000
    BAD_RESOURCE_UNAVAILABLE = 0x8004_0000


def is_good(status: int) -> bool:
    """Return whether the severity is Good."""
    return status & SEVERITY_MASK == 0


def is_bad(status: int) -> bool:
    """Return whether the severity is Bad; the value of such a reading is not published."""
    return bool(status & _BAD)


def quality_name(status: int) -> str:
    """Return ``GOOD``, ``BAD_TIMEOUT`` …, or the hexadecimal code of one that has no name here."""
    try:
        return Quality(status).name
    except ValueError:
        return f"0x{status:08X}"
