"""What drivers have learned of their devices: small texts in memory, written behind with the commits."""

from collections.abc import Iterable, Iterator, MutableMapping

from edge_agent.model import DeviceId

MAX_DEVICE_CHARS = 256 * 1024
"""Keys and values of one device together; a driver that learns more than this has a bug."""

Entry = tuple[DeviceId, str, str | None]
"""One change; None = forgotten."""


class Learned:
    """The learned state of all devices, and which of it is not on disk yet."""

    def __init__(self, entries: Iterable[tuple[DeviceId, str, str]] = ()) -> None:
        self._devices: dict[DeviceId, dict[str, str]] = {}
        self._changed: set[tuple[DeviceId, str]] = set()
        self._taken: set[tuple[DeviceId, str]] = set()
        for device, key, value in entries:
            self._devices.setdefault(device, {})[key] = value

    def of(self, device: DeviceId) -> "LearnedState":
        """Return the state of one device; a change of it is durable with the next commit."""
        return LearnedState(device, self._devices.setdefault(device, {}), self._changed)

    def take(self) -> list[Entry]:
        """Return the changes since the last commit; call ``settle`` or ``fail`` when it is known how it went."""
        self._taken, changed = set(self._changed), self._changed
        changed.clear()
        return [(device, key, self._devices[device].get(key)) for device, key in sorted(self._taken)]

    def renew(self, entries: Iterable[tuple[DeviceId, str, str]] = (), *, is_new: bool = True) -> None:
        """Take ``entries`` where there is nothing newer; if the file is a new one, the next commit writes all."""
        for device, key, value in entries:
            self._devices.setdefault(device, {}).setdefault(key, value)
        if is_new:
            self._changed |= {(device, key) for device, values in self._devices.items() for key in values}

    def settle(self) -> None:
        """What was taken is on disk."""
        self._taken = set()

    def fail(self) -> None:
        """What was taken did not reach the disk; the next ``take`` has it again."""
        self._changed |= self._taken


class LearnedState(MutableMapping[str, str]):
    """The learned state of one device."""

    def __init__(self, device: DeviceId, values: dict[str, str], changed: set[tuple[DeviceId, str]]) -> None:
        self._device = device
        self._values = values
        self._changed = changed

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __setitem__(self, key: str, value: str) -> None:
        (key + value).encode()  # raises for text that no file can hold
        size = sum(len(k) + len(v) for k, v in self._values.items() if k != key) + len(key) + len(value)
        if size > MAX_DEVICE_CHARS:
            raise ValueError(f"{self._device}: a driver may keep {MAX_DEVICE_CHARS} characters, this makes {size}")
        if self._values.get(key) != value:
            self._values[key] = value
            self._changed.add((self._device, key))

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._changed.add((self._device, key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
