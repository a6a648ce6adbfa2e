"""The file of a backup: a manifest and the files it names, whole or not at all, sealed if there is a passphrase.

Plain, it is a tar.gz that any tool opens: ``manifest.json``, then the files under their numbers. No path of the
archive is ever used as one; the manifest says where a file belongs, and its hash. Sealed, that is encrypted with
AES-256-GCM under a key that scrypt makes of the passphrase.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import msgspec

from edge_agent.errors import EdgeAgentError

SCHEMA = "edge.backup/1"
MAX_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 2 * MAX_BYTES  # with the manifest, as written and unpacked
_MAGIC = b"edge.backup/1 sealed\n"
_SALT_BYTES, _NONCE_BYTES = 16, 12
# RFC 7914 §2: 32 MiB of memory and a quarter of a second on a small box for each guess.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 1


class BackupError(EdgeAgentError):
    """It is no backup, is damaged, or cannot be made or restored; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file.

    Attributes:
        path: absolute, where it was and belongs.
        mode: its permissions.
        owner, group: by name; empty = whoever restores it.
        sha256: of its content.
    """

    path: str
    mode: int
    owner: str
    group: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    Attributes:
        about: who made it and of what: ``version``, ``created``, ``gateway``, ``epoch``, ``config``, ``state``.
        elsewhere: what the configuration names and the backup does not have, for people.
        items: each with its content.
    """

    about: Mapping[str, str]
    elsewhere: tuple[str, ...]
    items: tuple[tuple[Item, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Release:
    schema: str


@dataclass(frozen=True, slots=True)
class _Manifest:
    about: dict[str, str]
    elsewhere: list[str]
    files: list[Item]


_NEEDED = frozenset({"gateway", "created", "state"})
_NO_BACKUP = (
    OSError,
    EOFError,
    zlib.error,
    tarfile.TarError,
    msgspec.MsgspecError,
    RecursionError,
    UnicodeError,
    ValueError,
    KeyError,
)
"""What gzip, tar and JSON raise at what is damaged or hostile."""


def digest(content: bytes) -> str:
    """Return the hash that an ``Item`` has."""
    return hashlib.sha256(content).hexdigest()


def pack(backup: Backup, passphrase: str | None) -> bytes:
    """Return the file.

    Raises:
        BackupError: it is too large to be one.
    """
    manifest = {
        "schema": SCHEMA,
        "about": dict(backup.about),
        "elsewhere": list(backup.elsewhere),
        "files": [asdict(item) for item, _ in backup.items],
    }
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        _add(tar, "manifest.json", json.dumps(manifest, ensure_ascii=False, indent=1).encode())
        for number, (_, content) in enumerate(backup.items):
            _add(tar, f"files/{number}", content)
    plain = stream.getvalue()
    if sum(len(content) for _, content in backup.items) > MAX_BYTES:
        raise BackupError(f"more than {MAX_BYTES // 1024**2} MiB: a backup holds no readings; what else is there?")
    return plain if passphrase is None else _seal(plain, passphrase)


def is_sealed(content: bytes) -> bool:
    """Return whether a passphrase is needed."""
    return content.startswith(_MAGIC)


def unpack(content: bytes, passphrase: str | None) -> Backup:
    """Return what is in the file, every hash compared.

    Raises:
        BackupError: another passphrase, damage, or no backup at all.
    """
    plain = _unseal(content, passphrase or "") if is_sealed(content) else content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(plain)) as packed:
            raw = packed.read(MAX_FILE_BYTES)
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            written = _get(tar, "manifest.json")
            release = msgspec.json.decode(written, type=_Release).schema
            if release != SCHEMA:
                raise BackupError(f"a backup of another release: {release!r}, this one reads {SCHEMA}")
            manifest = msgspec.json.decode(written, type=_Manifest)
            if missing := _NEEDED - manifest.about.keys():
                raise KeyError(*missing)
            for path in (manifest.about["state"], *(item.path for item in manifest.files)):
                _check_path(path)
            items = [(item, _get(tar, f"files/{number}")) for number, item in enumerate(manifest.files)]
    except _NO_BACKUP as exc:
        raise BackupError("this is no backup of edge-agent, or it is damaged") from exc
    for item, held in items:
        if digest(held) != item.sha256:
            raise BackupError(f"the backup is damaged: {item.path} is not what was saved")
    return Backup(manifest.about, tuple(manifest.elsewhere), tuple(items))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


def _get(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.getmember(name)
    # Not what leads elsewhere, nor what says that it is larger than the archive.
    file = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if file is None:
        raise KeyError(name)
    return file.read()


def _check_path(path: str) -> None:
    pure = PurePosixPath(path)
    if pure.root != "/" or len(pure.parts) == 1 or ".." in pure.parts or str(pure) != path or "\0" in path:
        raise BackupError(f"{path!r} is no place for a file")


def _seal(plain: bytes, passphrase: str) -> bytes:
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    head = _MAGIC + salt + nonce
    sealed: bytes = _cipher(passphrase, salt).encrypt(nonce, plain, head)
    return head + sealed


def _unseal(content: bytes, passphrase: str) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow, and only where it is sealed

    head = content[: len(_MAGIC) + _SALT_BYTES + _NONCE_BYTES]
    salt, nonce = head[len(_MAGIC) : len(_MAGIC) + _SALT_BYTES], head[len(_MAGIC) + _SALT_BYTES :]
    try:
        plain: bytes = _cipher(passphrase, salt).decrypt(nonce, content[len(head) :], head)
    except (InvalidTag, ValueError) as exc:
        raise BackupError("another passphrase, or the backup is damaged") from exc
    return plain


def _cipher(passphrase: str, salt: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415 - as above

    return AESGCM(Scrypt(salt, 32, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P).derive(passphrase.encode()))
