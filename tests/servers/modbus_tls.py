"""TLS in front of a Modbus TCP server: socat on OpenSSL, neither Python nor ours."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Plant:
    """An authority, and what it has issued, as files."""

    folder: Path
    ca: trustme.CA

    @classmethod
    def build(cls, folder: Path) -> "Plant":
        folder.mkdir(exist_ok=True)
        plant = cls(folder, trustme.CA())
        plant.ca.cert_pem.write_to_path(folder / "ca.pem")
        return plant

    def issue(self, name: str, *names: str, until: datetime | None = None) -> None:
        """Write ``name``.pem and ``name``.key for one who is called ``names``."""
        issued = self.ca.issue_cert(
            *names, not_after=until, not_before=None if until is None else datetime(2020, 1, 1, tzinfo=UTC)
        )
        (self.folder / f"{name}.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")

    def lock(self, name: str) -> None:
        """Write the key of ``name`` with a passphrase, as ``name``-locked.key."""
        files = ["-in", str(self.path(f"{name}.key")), "-out", str(self.path(f"{name}-locked.key"))]
        subprocess.run(["openssl", "pkey", *files, "-aes256", "-passout", "pass:x"], check=True)

    def path(self, name: str) -> Path:
        return self.folder / name


@contextmanager
def tls_front(
    port: int, certificate: Path, key: Path, clients: Path, *options: str, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Yield the port where TLS is spoken for the server at ``port``; ``clients``: who issues its clients'."""
    listen = [
        f"OPENSSL-LISTEN:0,{'pf=ip6,' if ':' in host else ''}bind={host},fork",
        f"cert={certificate}",
        f"key={key}",
    ]
    listen += [f"cafile={clients}", "verify=1", *options]
    command = ["socat", "-d", "-d", ",".join(listen), f"TCP:127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                found = re.search(r"listening on .*:(\d+)$", line.strip())
                if found:
                    yield int(found[1])
                    break
        finally:
            process.terminate()


@contextmanager
def old_server(certificate: Path, key: Path) -> Iterator[int]:
    """Yield the port of a server that has TLS 1.1 and nothing newer."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]
    command += ["-cert", str(certificate), "-key", str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(int(line.rpartition(":")[2]) for line in process.stdout if line.startswith("ACCEPT "))
        finally:
            process.terminate()
