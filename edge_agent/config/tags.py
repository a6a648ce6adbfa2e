"""Where secrets come from: ``!env NAME``, ``!file PATH``, ``!credential NAME``. Nowhere else."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_agent.config.exposure import exposure

MAX_SECRET_BYTES = 64 * 1024

SECRET_TAGS = ("!env", "!file", "!credential")


class Secrets:
    """Resolves the tags of one YAML file.

    Args:
        directory: the folder of the YAML file; ``!file`` paths are relative to it.
        environ: the environment of the process.

    Attributes:
        files: that secrets were read from so far.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self.files: set[Path] = set()
        self._directory = directory
        self._environ = os.environ if environ is None else environ
        self._by_tag: dict[str, Callable[[str], str]] = {
            "!env": self._from_environment,
            "!file": self._from_file,
            "!credential": self._from_credential,
        }

    def resolve(self, tag: str, argument: str) -> str:
        """Return the secret that ``tag argument`` names; never empty.

        Raises:
            ValueError: an unknown tag, or there is no such secret; the message says what to do.
        """
        if tag not in self._by_tag:
            raise ValueError(f"unknown tag {tag}; known are {', '.join(SECRET_TAGS)}; plain text needs quotes")
        if not argument.isprintable() or not argument:
            raise ValueError(f"{tag} needs a name, such as {tag} mqtt-password")
        secret = self._look_up(tag, argument)
        if not secret:
            raise ValueError(f"{tag} {argument} is empty")
        if "\0" in secret:
            raise ValueError(f"{tag} {argument} holds a zero byte")
        return secret

    def _look_up(self, tag: str, argument: str) -> str:
        return self._by_tag[tag](argument)

    def _from_environment(self, name: str) -> str:
        if name not in self._environ:
            raise ValueError(f"the environment variable {name} is not set")
        return self._environ[name]

    def _from_file(self, path: str) -> str:
        self.files.add(self._directory / path)
        secret = _read(self._directory / path)
        if why := exposure(self._directory / path):
            raise ValueError(why)
        return secret

    def _from_credential(self, name: str) -> str:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ValueError(
                "$CREDENTIALS_DIRECTORY is not set: credentials exist only in a systemd unit with "
                f"LoadCredential={name}:/path/to/file"
            )
        if "/" in name or name in {".", ".."}:
            raise ValueError(f"{name!r} cannot be the name of a credential; !file takes a path")
        path = Path(directory, name)
        self.files.add(path)
        if not path.exists():
            raise ValueError(f"the unit has no credential {name}; add LoadCredential={name}:/path/to/file")
        return _read(path)  # systemd saw to it that nobody else can; access control lists hide that from a mode


class SecretsLeftOut(Secrets):
    """Checks how a secret is named, looks none up, and gives every one the same word that opens nothing."""

    def _look_up(self, tag: str, argument: str) -> str:  # noqa: ARG002 - that is the point
        return "the-secret-is-left-out"


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise ValueError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"{path} is larger than {MAX_SECRET_BYTES // 1024} KiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None  # the cause would carry the secret
    return text.removesuffix("\n").removesuffix("\r")
