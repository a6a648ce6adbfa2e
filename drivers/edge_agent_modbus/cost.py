"""What an exchange costs on its line: bytes and time, before the first one is sent. Pure.

Times are integers, so that a plan is the same on every machine.
"""

from dataclasses import dataclass, replace
from typing import Self

from edge_agent_modbus.pdu import Table

READ_BYTES = 5  # MODBUS Application Protocol V1.1b3 §6.1 to §6.4: function, address, quantity
REPLY_BYTES = 2  # ditto: function and byte count before the data

SILENCE_CHARACTERS = 3.5  # MODBUS over Serial Line V1.02 §2.5.1.1, between two frames
SILENCE_FAST_NS = 1_750_000  # ditto, for all baud rates above
SILENCE_FAST_ABOVE = 19_200

ROUND_TRIP_NS = 1_000_000
"""Of a device with a socket, until it is measured: most answer within one to some milliseconds."""
TURN_AROUND_NS = 10_000_000
"""Of a device on a serial line, from the end of the request to the begin of the answer, until it is measured."""
_NETWORK_BYTE_NS = 80  # 100 Mbit/s
_MBAP_BYTES = 7  # MODBUS Messaging on TCP/IP V1.0b §3.1.3
_FRAMES = {
    False: (3, 1),  # MODBUS over Serial Line V1.02 §2.5.1: address and CRC
    True: (7, 2),  # §2.5.2.1: colon, address, LRC, CR and LF; two characters a byte
}


@dataclass(frozen=True, slots=True)
class LineSpeed:
    """What the bytes and the waiting of an exchange cost.

    Attributes:
        frame_bytes: of each frame, round the PDU, where it takes its time.
        header_bytes: of each frame besides, on the network before a gateway to a serial line.
        bytes_per_byte: on the wire for one of the PDU; ASCII takes two.
        byte_ns: time of one byte on the wire.
        answer_ns: of each exchange, from the end of the request to the begin of the answer.
        silence_ns: of each exchange, round its frames.
        baud_rate: of a serial line; 0 where there is none.
    """

    frame_bytes: int = _MBAP_BYTES
    bytes_per_byte: int = 1
    byte_ns: int = _NETWORK_BYTE_NS
    answer_ns: int = ROUND_TRIP_NS
    silence_ns: int = 0
    baud_rate: int = 0
    header_bytes: int = 0

    @classmethod
    def network(cls, *, is_ascii: bool = False, silence_s: float = 0.0) -> Self:
        """Return the speed of frames of a serial line on a network, however fast the line behind it is."""
        frame_bytes, bytes_per_byte = _FRAMES[is_ascii]
        return cls(frame_bytes, bytes_per_byte, silence_ns=round(silence_s * 1e9))

    @classmethod
    def serial(
        cls,
        baud_rate: int,
        *,
        character_bits: int = 11,
        pause_s: float = 0.0,
        turn_around_ns: int = TURN_AROUND_NS,
        is_ascii: bool = False,
    ) -> Self:
        """Return the speed of a serial line.

        Args:
            baud_rate: bits per second.
            character_bits: start, data, parity and stop bits.
            pause_s: least silence between an answer and the next request.
            turn_around_ns: what the device takes to begin its answer.
            is_ascii: whether frames are in characters, not in binary.
        """
        byte_ns = character_bits * 1_000_000_000 // baud_rate
        silence_ns = SILENCE_FAST_NS
        if baud_rate <= SILENCE_FAST_ABOVE:
            silence_ns = int(SILENCE_CHARACTERS * byte_ns)
        if is_ascii:  # characters say where a frame ends, no silence
            silence_ns = 0
        frame_bytes, bytes_per_byte = _FRAMES[is_ascii]
        around_ns = silence_ns + max(silence_ns, round(pause_s * 1e9))
        return cls(frame_bytes, bytes_per_byte, byte_ns, turn_around_ns, around_ns, baud_rate)

    def behind_a_gateway(self, *, has_mbap: bool) -> Self:
        """Return the same serial line behind a network, whose round trip is to be waited for as well."""
        header_bytes = _MBAP_BYTES - self.frame_bytes if has_mbap else 0
        return replace(self, answer_ns=self.answer_ns + ROUND_TRIP_NS, header_bytes=header_bytes)

    def answering_in(self, answer_ns: int) -> Self:
        """Return the same line with a device that takes so long to answer."""
        return replace(self, answer_ns=answer_ns)

    @property
    def wait_ns(self) -> int:
        """What each exchange takes besides its bytes."""
        return self.answer_ns + self.silence_ns

    @property
    def sent_bytes(self) -> int:
        """Of the frame that asks; each one is as long."""
        return self.header_bytes + self.frame_bytes + self.bytes_per_byte * READ_BYTES

    def received_bytes(self, table: Table, count: int) -> int:
        """Return the size of the frame that answers a read of ``count``."""
        own_bytes = self.header_bytes + self.frame_bytes
        return own_bytes + self.bytes_per_byte * (REPLY_BYTES + data_bytes(table, count))

    @property
    def request_ns(self) -> int:
        """What another request costs, before it has read anything."""
        both_bytes = 2 * self.frame_bytes + self.bytes_per_byte * (READ_BYTES + REPLY_BYTES)
        return self.wait_ns + self.byte_ns * both_bytes

    @property
    def data_byte_ns(self) -> int:
        """What a byte of data costs."""
        return self.byte_ns * self.bytes_per_byte

    def exchange_ns(self, table: Table, count: int) -> int:
        """Return the time from one request to the next."""
        return self.request_ns + self.data_byte_ns * data_bytes(table, count)


def data_bytes(table: Table, count: int) -> int:
    """Return the size of ``count`` registers, or coils packed into bytes (§6.1)."""
    return (count + 7) // 8 if table.has_bits else 2 * count
