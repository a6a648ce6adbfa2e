import logging
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from edge_agent.collect.expiry import DAY_NS, LOOK_EVERY_S, WARN_DAYS, Expiries
from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId
from edge_agent.testing.fakes import FakeClock
from edge_agent.together import together

CNC = DeviceId("cnc-07")


def test_what_a_driver_tells_is_a_metric_and_silent_while_it_is_far(caplog: pytest.LogCaptureFixture) -> None:
    clock, metrics = FakeClock(), Metrics()
    end_ns = clock.now_ns() + (WARN_DAYS + 1) * DAY_NS
    Expiries(metrics, clock).tell(CNC, "server", end_ns, "renew it")
    labels = {"device": "cnc-07", "certificate": "server"}
    told = metrics.registry.get_sample_value("edge_agent_certificate_expires_timestamp_seconds", labels)
    assert told == pytest.approx(end_ns / 1e9)
    assert caplog.records == []


async def test_the_files_of_the_configuration_are_told_of_until_they_are_none_of_it(tmp_path: Path) -> None:
    metrics, authority = Metrics(), trustme.CA()
    pair = authority.issue_cert("broker")
    certificate, other = tmp_path / "own.pem", tmp_path / "password"
    pair.cert_chain_pems[0].write_to_path(certificate)
    other.write_text("s3cret")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    der = tmp_path / "broken.der"
    der.write_bytes(b"\x30\x03\x02\x01\x05")
    expiries = Expiries(metrics, FakeClock())
    name = "edge_agent_certificate_expires_timestamp_seconds"
    labels = {"device": "", "certificate": str(certificate)}
    await expiries.watch([certificate, other, broken, der, tmp_path / "gone"])
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    assert metrics.registry.get_sample_value(name, labels) == ends.timestamp()
    expiries.forget(CNC)
    assert metrics.registry.get_sample_value(name, labels) is not None
    await expiries.watch([other])
    assert metrics.registry.get_sample_value(name, labels) is None


async def test_a_session_that_goes_on_is_warned_as_the_end_comes_near_and_told_when_it_is_past(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    expiries = Expiries(Metrics(), clock)
    end_ns = clock.now_ns() + WARN_DAYS * DAY_NS + 10 * DAY_NS
    expiries.tell(CNC, "own", end_ns, "trust the new one")
    async with together(EdgeAgentError) as group:
        task = group.create_task(expiries.run())
        for _ in range(11):
            clock.step(86400)
            await clock.advance(LOOK_EVERY_S)
        (near,) = caplog.records
        assert near.levelno == logging.WARNING
        assert near.message == "a certificate ends soon"
        assert (near.device, near.certificate, near.remedy) == ("cnc-07", "own", "trust the new one")  # type: ignore[attr-defined]
        expiries.tell(CNC, "own", clock.now_ns() + 1000 * DAY_NS, "")
        assert caplog.records[-1].message == "a certificate is valid for long again"
        expiries.tell(CNC, "own", clock.now_ns() - 1, "trust the new one")
        assert caplog.records[-1].message == "a certificate has ended"
        assert [one["certificate"] for one in expiries.soon()] == ["own"]
        task.cancel()
