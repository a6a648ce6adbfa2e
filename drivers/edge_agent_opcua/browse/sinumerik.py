"""Variables of a SINUMERIK control by their identifiers. Pure.

The server of the control (Access MyMachine / OPC UA) names its variables as the list manual "NC variables" does:
``/Channel/State/progStatus`` is channel 1, ``…[u2]`` channel 2. Its address space is large and slow to walk, so
these are asked for by name. Not yet run against a control.
"""

from collections.abc import Mapping

from edge_agent_opcua.node_id import NodeAddress

NAMESPACE = "SinumerikVarProvider"

_STATE, _COUNTER, _PERCENT = {"class": "event"}, {"class": "counter"}, {"unit": "%"}

_VARIABLES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("/Bag/State/opMode", "operation_mode", {"description": "0 JOG, 1 MDA, 2 AUTO"} | _STATE),
    ("/Channel/State/chanStatus", "channel_state", {"description": "0 reset, 1 active, 2 interrupted"} | _STATE),
    (
        "/Channel/State/progStatus",
        "program_state",
        {"description": "1 interrupted, 2 stopped, 3 running, 4 waiting, 5 aborted"} | _STATE,
    ),
    ("/Channel/ProgramInfo/progName", "program", _STATE),
    ("/Channel/ProgramInfo/workPandProgName", "workpiece_and_program", _STATE),
    ("/Channel/State/actTNumber", "tool", _STATE),
    ("/Channel/State/actParts", "parts", _COUNTER),
    ("/Channel/State/reqParts", "parts_required", _COUNTER),
    ("/Channel/State/totalParts", "parts_total", _COUNTER),
    ("/Channel/State/actFeedRateIpo", "feed", {}),
    ("/Channel/State/feedRateIpoOvr", "feed_override", _PERCENT),
    ("/Channel/State/rapFeedRateOvr", "rapid_override", _PERCENT),
    ("/Channel/Spindle/actSpeed", "spindle_speed", {"unit": "r/min"}),
    ("/Channel/Spindle/speedOvr", "spindle_override", _PERCENT),
    ("/Channel/Spindle/driveLoad", "spindle_load", _PERCENT),
    ("/Channel/State/chanAlarm", "channel_alarm", {"class": "alarm"}),
    ("/Nck/State/numAlarms", "alarm_count", {"class": "alarm"}),
)

ADDRESSES = {path: NodeAddress(path, NAMESPACE) for path, _, _ in _VARIABLES}
NAMES = {path: name for path, name, _ in _VARIABLES}
KEYS = {path: keys for path, _, keys in _VARIABLES}
