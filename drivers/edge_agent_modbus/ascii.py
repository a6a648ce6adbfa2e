"""Modbus ASCII: the discipline of RTU, in frames of characters.

Source: MODBUS over Serial Line Specification and Implementation Guide V1.02 §2.5.2.
"""

from edge_agent_modbus.owed import reply_bytes
from edge_agent_modbus.rtu import RtuTransport

_BEGIN, _END = b":", b"\r\n"
_EXCEPTION = 0x80
_CRC_BYTES = 2
_EXCEPTION_BYTES = 3  # unit, function, code
_ECHO = 8


def lrc(data: bytes) -> bytes:
    """Return the check of a frame (§6.2.1)."""
    return bytes([-sum(data) & 0xFF])


class AsciiTransport(RtuTransport):
    """One line. One exchange at a time, as its turns have it."""

    _gap_s = 1.0  # §2.5.2.1: so much may pass between two characters of a frame

    def _frame(self, unit: int, pdu: bytes) -> bytes:
        data = bytes([unit]) + pdu
        return _BEGIN + (data + lrc(data)).hex().upper().encode() + _END

    def _find(self, unit: int, pdu: bytes) -> bytes | None:
        begin = 0
        while (end := self._received.find(_END, begin)) >= 0:
            frame = _decode(self._received[begin:end])
            begin = end + len(_END)
            if frame is not None and _is_answer(frame, unit, pdu):
                self._received = self._received[begin:]
                self.has_answered = True
                return frame[1:]
            self.discarded += 1
        self._received = self._received[begin:]
        return None


def _decode(text: bytes) -> bytes | None:
    """Return unit and PDU of what ends before CR and LF; None if it is no frame."""
    _, colon, digits = text.rpartition(_BEGIN)  # which always begins a frame; what was before it is nothing
    if not colon or not digits.isalnum():
        return None
    try:
        data = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    return data[:-1] if len(data) > _EXCEPTION_BYTES and lrc(data[:-1]) == data[-1:] else None


def _is_answer(frame: bytes, unit: int, pdu: bytes) -> bool:
    if frame[0] != unit or frame[1] & ~_EXCEPTION != pdu[0]:
        return False
    if frame[1] & _EXCEPTION:
        return len(frame) == _EXCEPTION_BYTES
    if pdu[0] == _ECHO:
        return frame[1:] == pdu
    size_bytes = reply_bytes(pdu)
    return not size_bytes or len(frame) == size_bytes - _CRC_BYTES
