"""What a configuration names is found wherever it names it, and no secret is looked up for that."""

from pathlib import Path

from edge_agent.config.mentioned import mentioned
from edge_agent.registry import Registry


def test_every_file_and_everything_that_is_elsewhere_is_named(tmp_path: Path) -> None:
    for name in ("ca.pem", "own.pem", "own.key", "page.pem", "page.key", "cnc.pem"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "drivers").mkdir()
    path = tmp_path / "a.yaml"
    path.write_text(
        "gateway: {id: gw}\n"
        "drivers_path: [drivers]\n"
        "outbox: {directory: state}\n"
        "ops: {token: !env TOKEN, tls: {certificate: page.pem, key: page.key}}\n"
        "publishers:\n"
        "  - {id: a, type: mqtt, servers: ['mqtts://h'], username: u, password: !file secret/mqtt,\n"
        "     tls: {ca: ca.pem, certificate: own.pem, key: own.key}}\n"
        "devices:\n"
        "  - {id: c, driver: opcua, url: 'opc.tcp://h', security_policy: Basic256Sha256, trusted: [cnc.pem],\n"
        "     user: u, password: !credential cnc, points: [{name: a, node: i=1}]}\n"
    )
    names = mentioned(path, Registry())
    files = {"secret/mqtt", "page.pem", "page.key", "ca.pem", "own.pem", "own.key", "cnc.pem"}
    assert set(names.paths) == {tmp_path / name for name in files}
    assert names.elsewhere == ("!env TOKEN", "!credential cnc", "drivers_path drivers")
    assert (names.gateway, names.local.outbox.directory) == ("gw", tmp_path / "state")
