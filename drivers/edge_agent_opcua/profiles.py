"""What models of servers take, beyond what they announce. Data: each fact with where it is said.

Only ``node-opcua`` and ``asyncua`` have been run against; none of the others has been tried by this project.
"""

from collections.abc import Mapping
from dataclasses import dataclass

MAX_OPERATIONS = 1000  # of one request, where a server names no limit


@dataclass(frozen=True, slots=True)
class Profile:
    """What a model of server takes; 0 where nothing is known.

    Attributes:
        source: who says so.
        words: it is the model if the server's BuildInfo (OPC 10000-5 §12.4) has one of them, in lower case.
        max_operations: most nodes in one request.
        max_items: most variables that it reports, of all clients together.
        max_samples_per_s: most samples that it takes, of all variables together.
        takes_types_literally: it leaves out events of types below those that were asked for, and those that say
            what became of a refresh or a queue.
        drops_events_in_silence: a full queue gives up events, and no EventQueueOverflowEventType says so.
    """

    source: str
    words: tuple[str, ...] = ()
    max_operations: int = MAX_OPERATIONS
    max_items: int = 0
    max_samples_per_s: int = 0
    takes_types_literally: bool = False
    drops_events_in_silence: bool = False


AUTO = "auto"
STANDARD = "standard"
_UMH = "github.com/united-manufacturing-hub/benthos-umh, opcua_plugin/server_profiles.go"
_SINUMERIK = "Access MyMachine / OPC UA, configuration manual 6FC5397-1DP41-0BA0 (04/2018), page 69"

PROFILES: Mapping[str, Profile] = {
    STANDARD: Profile("the limits that the server announces"),
    "asyncua": Profile(
        "run against: no limits", ("freeopcua",), takes_types_literally=True, drops_events_in_silence=True
    ),
    "ignition": Profile(f"{_UMH}: 1,000 of a request are safe", ("inductive automation", "ignition", "milo")),
    "kepware": Profile(f"{_UMH}: 1,000 of a request are safe", ("kepware", "kepserverex")),
    "node-opcua": Profile(
        "run against: the limits that it announces", ("node-opcua", "nodeopcua"), drops_events_in_silence=True
    ),
    "prosys": Profile(f"{_UMH}: 800 of a request are safe", ("prosys",), max_operations=800),
    "s7-1200": Profile(
        f"{_UMH}, after Siemens 109755846: 100 of a request, much slower with more; 1,000 items",
        ("s7-1200",),
        max_operations=100,
        max_items=1000,
    ),
    "s7-1500": Profile(
        f"{_UMH}: 500 of a request; 10,000 items (CPU 1511 to 1513, fewer with older firmware)",
        ("s7-1500",),
        max_operations=500,
        max_items=10_000,
    ),
    "sinumerik-828d": Profile(f"{_SINUMERIK}: 500 samples a second, sampling from 100 ms", max_samples_per_s=500),
    "sinumerik-840d": Profile(
        f"{_SINUMERIK}: 1,000 samples a second, sampling from 100 ms", ("sinumerik",), max_samples_per_s=1000
    ),
}
"""By the name that is written in the configuration."""


def detect(manufacturer: str, product: str) -> str:
    """Return the name of the profile for a server with this BuildInfo, ``standard`` if there is none."""
    told = f"{manufacturer} {product}".lower()
    return next((name for name, known in PROFILES.items() if any(word in told for word in known.words)), STANDARD)


def excess(profile: Profile, items: int, samples_per_s: float) -> tuple[str, ...]:
    """Return a sentence for each thing that is more than a server of this model takes."""
    told = []
    if 0 < profile.max_items < items:
        told.append(f"{items} points are to be reported; such a server reports {profile.max_items} at the most")
    if 0 < profile.max_samples_per_s < samples_per_s:
        told.append(
            f"{samples_per_s:.0f} samples a second are asked for; such a server takes "
            f"{profile.max_samples_per_s}: write longer sampling intervals"
        )
    return tuple(told)
