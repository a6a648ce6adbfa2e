"""Brings a database to the schema of this release; runs before the first commit, never on the hot path."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge_agent.errors import OutboxError

APPLICATION_ID = 0x65644F42
"""``edOB``: what ``file`` and we know the file by (SQLite file format §1.3.14)."""

_SCHEMAS = sorted((Path(__file__).parent / "schema").glob("*.sql"))
NEWEST_SCHEMA = len(_SCHEMAS)


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema of an outbox, 0 for an empty file.

    Raises:
        OutboxError: it is somebody else's database, or a newer release has written it.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    has_tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] > 0
    if has_tables and application != APPLICATION_ID:
        raise OutboxError(f"{path} is a database, but no outbox; move it away or configure another directory")
    if version > NEWEST_SCHEMA:
        raise OutboxError(
            f"{path} was written by a newer release (schema {version}, this one knows {NEWEST_SCHEMA});"
            " install that release again, or move the file away to begin with an empty outbox"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Create the schema or bring an older one up to date, each step in one transaction.

    Raises:
        OutboxError: as for ``schema_version``.
        sqlite3.Error: a step failed; the steps before it stay done.
    """
    version = schema_version(connection, path)
    if version == NEWEST_SCHEMA:
        return
    if version == 0:  # these hold only if they come before the first table and before WAL
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    # Imported only when there is something to do: 26 MB that a running agent never needs.
    from sqlite_utils import Database, Migrations  # noqa: PLC0415

    steps = Migrations("edge_agent.outbox")
    for number, schema in enumerate(_SCHEMAS, start=1):

        def step(database: Database, number: int = number, schema: Path = schema) -> None:
            for statement in _statements(schema.read_text("utf-8")):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")

        steps(name=schema.stem)(step)
    steps.apply(Database(connection, recursive_triggers=False, execute_plugins=False))


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
