"""Times, sizes and values as people read them."""

from datetime import UTC, datetime


def ago(then_ns: int, now_ns: int) -> str:
    """Return the time between the two, rounded down; a clock that stepped back gives ``0 s``."""
    seconds = max(0, now_ns - then_ns) // 1_000_000_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def local_time(time_ns: int | None) -> str:
    """Return a time in this computer's zone; empty if there is none."""
    if not time_ns:
        return ""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")


def local_date(time_ns: int) -> str:
    """Return the day of a time in this computer's zone."""
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone():%Y-%m-%d}"


def size(size_bytes: int) -> str:
    """Return a size in the largest unit that leaves something before the point."""
    amount, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 - a binary thousand
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:.0f} {unit}"  # noqa: PLR2004 - no exponents


def reading_value(value: object) -> str:
    """Return the value of a reading; empty for none."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:.7g}"
        case bytes():
            return value.hex()
        case _:
            return str(value)


def counted(count: int, noun: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{count} {noun}{'s' * (count != 1)}"
