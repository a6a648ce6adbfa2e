"""What a commit does besides writing rows: accounts, bounds, losses, days."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.clock import Anchor
from edge_agent.outbox.accounts import Accounts
from edge_agent.outbox.dead_letters import DeadLetters
from edge_agent.outbox.ledger import Plan
from edge_agent.outbox.losses import EVERYBODY, UNKNOWN, Days, Loss, Losses, in_groups
from edge_agent.outbox.options import OutboxOptions, WhenFull
from edge_agent.outbox.retention import Dropped, Encoded, Retention
from edge_agent.outbox.rows import Gap, Reason, Row


@dataclass(frozen=True, slots=True)
class Moment:
    """When a commit happens.

    Attributes:
        wall_ns: for what people read.
        monotonic_s: control time; ages and pauses go by it.
        is_last: nothing stays in memory for a later one.
        anchors: what the times of rows were reckoned from, as far as it is not in the file.
    """

    wall_ns: int = 0
    monotonic_s: float = 0.0
    is_last: bool = False
    anchors: tuple[tuple[int, Anchor], ...] = ()


class Upkeep:
    """One transaction at a time: ``begin``, then the steps within the transaction, then ``settle`` or ``fail``."""

    def __init__(self, sql: sqlite3.Connection, options: OutboxOptions) -> None:
        self.accounts = Accounts(sql)
        self.retention = Retention(sql, options)
        self.losses = Losses(sql)
        self.days = Days(sql)
        self.dead_letters = DeadLetters(sql, options.dead_letter_bytes)
        self._holds_bound = options.when_full is not WhenFull.BLOCK
        self._dropped = Dropped()

    def begin(self, plan: Plan, noted_ns: int = 0, epoch: str = "") -> Dropped:
        """Take note of what publishers got, while it is still in the file, and give up what is damaged."""
        dropped = self._dropped = self.retention.begin(self.accounts.publishers)
        self.days.begin()
        if plan.damaged:
            for first, last in self.retention.drop(plan.damaged, Reason.DAMAGED, dropped):
                about = (last - first + 1, 0, noted_ns, noted_ns, Reason.DAMAGED, epoch, first, last)
                dropped.losses.append(Loss(UNKNOWN, EVERYBODY, Gap("", *about)))
            dropped.readings.clear()  # how many a damaged row says that it holds is not to be trusted
            self.accounts.drop_missing()
        for loss in plan.losses:
            dropped.add_not_taken(loss)
        self.dead_letters.add(plan.letters, noted_ns, dropped)
        for publisher, spans in plan.confirmed.items():
            self.accounts.confirm(publisher, spans)
        return dropped

    def admit(self, encoded: Sequence[Encoded], epoch: str) -> Sequence[Encoded] | None:
        """Make room; return what may come in, None = nothing while the log is full."""
        return self.retention.admit(encoded, epoch, self._dropped)

    def taken(self, rows: Sequence[Row], last_id: int, moment: Moment) -> list[tuple[int, Loss]]:
        """Rows are in the file: count them, hold the bounds, and return the losses to write gap records of."""
        dropped = self._dropped
        self.accounts.owe(sum(row.count for row in rows))
        if self._holds_bound:
            self.retention.evict(0, dropped)
        self.retention.expire(moment.monotonic_s, last_id, dropped)
        self.accounts.drop(dropped.readings)
        self.losses.note(in_groups(dropped.losses), moment.wall_ns)
        self.days.count((row.t_first_ns, row.table.device, row.count, 0) for row in rows)
        self.days.count(dropped.days)
        return self.losses.due(moment.monotonic_s, with_all=moment.is_last)

    def end(self, reported: Sequence[int], moment: Moment) -> None:
        """Write the last of it; ``reported`` are the losses whose gap records are in the file."""
        if reported:
            self.losses.reported(reported)
        self.accounts.write()
        if moment.is_last or self.days.is_due(moment.monotonic_s):
            self.days.write(moment.monotonic_s)

    def settle(self) -> None:
        """It is on disk."""
        self.accounts.settle()
        self.days.settle()

    def fail(self) -> None:
        """Nothing of it is on disk."""
        self.accounts.fail()
        self.losses.fail()
        self.days.fail()
        self.retention.fail()
