"""Whoever is out there chooses the certificate that we see: any bytes are judged, refused, or no certificate."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.certificate import chain, der_of
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.security import check_server
from edge_agent_opcua.store import Store
from edge_agent_opcua.trust import Trusted, TrustList
from tests.servers.opcua.certificates import make_certificate

# What is out of the standard, and taken all the same by the library for now.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

URI = "urn:example:cnc"
AUTHORITY = make_certificate("urn:example:authority", key=2, is_authority=True)
DER = make_certificate(URI, key=1, issuer=AUTHORITY).der
KEY_TYPE = DER.index(bytes.fromhex("2a864886f70d010101"))  # of rsaEncryption
CONFIG = OpcUaDevice.model_validate(
    {
        "id": "cnc",
        "driver": "opcua",
        "url": "opc.tcp://127.0.0.1",
        "security_policy": "Basic256Sha256",
        "points": [{"name": "a", "node": "i=1"}],
    }
)


@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@example([(KEY_TYPE + 8, 0x63)])  # a type of key that nobody knows
def test_a_changed_certificate_is_never_trusted_for_its_authority_and_never_an_error_of_ours(
    changes: list[tuple[int, int]],
) -> None:
    changed = bytearray(DER)
    for position, value in changes:
        changed[position] = value
    try:
        shown = chain(bytes(changed))[0]
    except ValueError:
        return
    now = datetime.now(UTC)
    if der_of(shown) != DER:
        with pytest.raises(DeviceUnavailableError):
            check_server([shown], URI, CONFIG, Trusted((AUTHORITY.certificate,)), now)
    with suppress(DeviceUnavailableError):
        check_server([shown], URI, CONFIG, Trusted((shown,)), now)
    with TemporaryDirectory() as folder:
        TrustList(Path(folder)).reject(shown, "cnc opc.tcp://a", now)
        assert len(Store(Path(folder)).entries()) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_no_certificate(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        chain(content)
