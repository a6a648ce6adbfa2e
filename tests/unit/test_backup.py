"""The file of a backup: what went in comes out, and nothing else is taken for one."""

import contextlib
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from edge_agent.backup.archive import Backup, BackupError, Item, digest, is_sealed, pack, unpack
from edge_agent.backup.restore import Fate, carry_out, plan
from edge_agent.cli.backup import put_back
from edge_agent.errors import OutboxError
from edge_agent.outbox.directory import DirectoryLock

PASSPHRASE = "correct horse"  # noqa: S105 - of a test
ABOUT = {"gateway": "gw", "state": "/var/lib/agent", "created": "2026-11-29T00:00:00+00:00"}


def item(path: str, content: bytes, mode: int = 0o640) -> tuple[Item, bytes]:
    return Item(path, mode, "", "", digest(content)), content


BACKUP = Backup(
    ABOUT,
    ("!credential mqtt",),
    (
        item("/etc/agent/agent.yaml", "网关: 1\n".encode()),
        item("/etc/agent/own.key", b"\0\xff" * 5000, 0o600),
        item("/var/lib/agent/identifiers.lock", b"{}"),
        item("/var/lib/agent/audit/audit.jsonl", b"{}\n"),
    ),
)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE, "", "密码"])
def test_what_went_in_comes_out(passphrase: str | None) -> None:
    content = pack(BACKUP, passphrase)
    assert is_sealed(content) is (passphrase is not None)
    assert unpack(content, passphrase) == BACKUP


def test_sealed_nothing_of_it_can_be_read_and_no_two_are_alike() -> None:
    content = pack(BACKUP, PASSPHRASE)
    assert b"agent" not in content[30:]
    assert content != pack(BACKUP, PASSPHRASE)
    for wrong in (None, "", "Correct horse"):
        with pytest.raises(BackupError, match="another passphrase, or the backup is damaged"):
            unpack(content, wrong)


def test_a_changed_byte_anywhere_is_found_in_a_sealed_backup() -> None:
    content = bytearray(pack(Backup(ABOUT, (), ()), PASSPHRASE))
    for at in range(21, len(content), 7):
        content[at] ^= 1
        with pytest.raises(BackupError):
            unpack(bytes(content), PASSPHRASE)
        content[at] ^= 1


@pytest.mark.parametrize("length", [0, 1, 30, 60, 200, -1])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_half_a_backup_is_none(length: int, passphrase: str | None) -> None:
    with pytest.raises(BackupError):
        unpack(pack(BACKUP, passphrase)[:length], passphrase)


def made(
    files: list[Any],
    contents: dict[str, bytes],
    schema: str = "edge.backup/1",
    about: dict[str, Any] = ABOUT,
    special: dict[str, Any] | None = None,
) -> bytes:
    """Return an archive as somebody else may write it; ``special``: what is set in the header of ``files/0``."""
    stream = io.BytesIO()
    manifest = {"schema": schema, "about": about, "elsewhere": [], "files": files}
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in ({"manifest.json": json.dumps(manifest).encode()} | contents).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if name == "files/0":
                for key, value in (special or {}).items():
                    setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue())


@pytest.mark.parametrize(
    "path", ["etc/passwd", "/a/../etc/passwd", "", "/a//b", "/a/.", "../x", "/a\0b", "/", "//a"]
)
def test_a_place_that_is_none_is_refused(path: str) -> None:
    file = {"path": path, "mode": 0o600, "owner": "", "group": "", "sha256": digest(b"x")}
    with pytest.raises(BackupError, match="is no place for a file"):
        unpack(made([file], {"files/0": b"x"}), None)


def test_what_a_hostile_archive_holds_besides_is_not_looked_at() -> None:
    assert unpack(made([], {"../../etc/cron.d/x": b"x", "/etc/passwd": b"x"}), None).items == ()


@pytest.mark.parametrize(
    ("files", "schema", "message"),
    [
        ([], "edge.backup/2", "another release"),
        ([{"path": "/a"}], "edge.backup/1", "no backup of edge-agent"),
        (
            [{"path": "/a", "mode": 0, "owner": "", "group": "", "sha256": "0"}],
            "edge.backup/1",
            "/a is not what was saved",
        ),
        (["/a"], "edge.backup/1", "no backup of edge-agent"),
    ],
)
def test_what_does_not_fit_is_refused(files: list[Any], schema: str, message: str) -> None:
    with pytest.raises(BackupError, match=message):
        unpack(made(files, {"files/0": b"x"}, schema), None)


A_FILE = {"path": "/a", "mode": 0o600, "owner": "", "group": "", "sha256": digest(b"x")}


@pytest.mark.parametrize(
    "wrong", [{"mode": "rw"}, {"mode": 1.5}, {"owner": None}, {"path": "/\ud800"}, {"sha256": 1}]
)
def test_a_file_that_is_described_wrongly_is_refused_before_any_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(BackupError, match="no backup of edge-agent"):
        unpack(made([A_FILE, A_FILE | wrong], {"files/0": b"x", "files/1": b"x"}), None)


@pytest.mark.parametrize("state", ["/../../../elsewhere", "//elsewhere", "elsewhere", "", "/a\0b"])
def test_a_state_directory_elsewhere_is_refused(state: str) -> None:
    with pytest.raises(BackupError, match="is no place for a file"):
        unpack(made([], {}, about=ABOUT | {"state": state}), None)


@pytest.mark.parametrize("about", [{}, ABOUT | {"state": None}, ABOUT | {"gateway": ["gw"]}])
def test_a_backup_of_nothing_known_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(BackupError, match="no backup of edge-agent"):
        unpack(made([], {}, about=about), None)


@pytest.mark.parametrize(
    "special",
    [
        {"type": tarfile.SYMTYPE, "linkname": "0", "size": 0},  # to itself
        {"type": tarfile.LNKTYPE, "linkname": "manifest.json", "size": 0},
        {"type": tarfile.FIFOTYPE, "size": 0},
        {
            "pax_headers": {
                "GNU.sparse.map": f"{10**12},0",
                "GNU.sparse.size": str(10**12),
                "GNU.sparse.numblocks": "1",
            }
        },  # a terabyte of zeros
    ],
)
def test_what_is_not_a_plain_file_is_refused(special: dict[str, Any]) -> None:
    with pytest.raises(BackupError, match="no backup of edge-agent"):
        unpack(made([A_FILE], {"files/0": b"x"}, special=special), None)


def test_a_changed_byte_anywhere_is_found_or_changes_nothing() -> None:
    content = bytearray(pack(BACKUP, None))
    for at in range(0, len(content), 3):
        content[at] ^= 0xFF
        with contextlib.suppress(BackupError):
            assert unpack(bytes(content), None) == BACKUP
        content[at] ^= 0xFF


def test_a_manifest_of_any_depth_is_refused() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = 200_000
        tar.addfile(member, io.BytesIO(b'{"a":' + b"[" * 200_000))
    with pytest.raises(BackupError, match="no backup of edge-agent"):
        unpack(gzip.compress(stream.getvalue()), None)


def test_an_owner_that_is_no_name_is_whoever_restores(tmp_path: Path) -> None:
    content = made([A_FILE | {"owner": "a\0b", "group": "a\0b"}], {"files/0": b"x"})
    carry_out(plan(unpack(content, None), tmp_path))
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_place_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    about = ABOUT | {"state": "/" + "x" * 300}
    with pytest.raises(BackupError, match=r"cannot be read: File name too long$"):
        plan(unpack(made([], {}, about=about), None), tmp_path)


def test_files_are_put_where_they_were_with_their_modes(tmp_path: Path) -> None:
    doing = plan(BACKUP, tmp_path)
    assert {step.fate for step in doing.steps} == {Fate.NEW}
    carry_out(doing)
    for one, content in BACKUP.items:
        place = tmp_path / one.path[1:]
        assert place.read_bytes() == content
        assert place.stat().st_mode & 0o777 == one.mode
    assert {step.fate for step in plan(BACKUP, tmp_path).steps} == {Fate.SAME, Fate.KEPT}


def test_setuid_never_comes_back(tmp_path: Path) -> None:
    one = Item("/bin/sh", 0o4755, "", "", digest(b"x"))
    carry_out(plan(Backup(ABOUT, (), ((one, b"x"),)), tmp_path))
    assert (tmp_path / "bin/sh").stat().st_mode & 0o7777 == 0o755


def test_another_file_is_replaced_whole_and_an_audit_log_is_not(tmp_path: Path) -> None:
    (tmp_path / "etc/agent").mkdir(parents=True)
    (tmp_path / "etc/agent/agent.yaml").write_text("another")
    (tmp_path / "var/lib/agent/audit").mkdir(parents=True)
    (tmp_path / "var/lib/agent/audit/audit.jsonl").write_text("ours")
    doing = plan(BACKUP, tmp_path)
    assert doing.replaced == [tmp_path / "etc/agent/agent.yaml"]
    carry_out(doing)
    assert (tmp_path / "etc/agent/agent.yaml").read_text() == "网关: 1\n"
    assert (tmp_path / "var/lib/agent/audit/audit.jsonl").read_text() == "ours"
    assert not list(tmp_path.rglob(".*"))


def test_while_the_agent_runs_nothing_is_put_back(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "var/lib/agent")
    try:
        with pytest.raises(OutboxError, match="is in use by process"):
            carry_out(plan(BACKUP, tmp_path))
    finally:
        lock.release()
    assert not (tmp_path / "etc").exists()


def put(file: Path, root: Path, passphrase_file: Path | None = None) -> None:
    put_back(file, root=root, passphrase_file=passphrase_file, forces=False, dry_run=True, as_json=False)


def test_a_file_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="/dev/zero is larger than 128 MiB"):
        put(Path("/dev/zero"), tmp_path)
    sealed = tmp_path / "box.backup"
    sealed.write_bytes(pack(BACKUP, PASSPHRASE))
    with pytest.raises(BackupError, match="/dev/zero is larger than 64 KiB"):
        put(sealed, tmp_path, Path("/dev/zero"))


def test_what_a_backup_says_of_itself_does_not_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "box.backup"
    file.write_bytes(pack(Backup(ABOUT | {"gateway": "\x1b]0;gw\x07"}, (), ()), None))
    put(file, tmp_path)
    assert "\x1b" not in capsys.readouterr().out


def test_where_nobody_can_be_asked_for_the_passphrase_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = tmp_path / "box.backup"
    sealed.write_bytes(pack(BACKUP, PASSPHRASE))
    monkeypatch.setattr(typer, "prompt", mock.Mock(side_effect=typer.Abort))
    with pytest.raises(BackupError, match=r"no passphrase was given.*--passphrase-file"):
        put(sealed, tmp_path)
