"""Which rows the log holds and who has got through which of them. Pure; lives on the loop.

The file is changed by one commit at a time: ``plan`` says what the next one writes, ``settle`` or ``fail``
says how it went. Acknowledgements that come in between belong to the one after.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from edge_agent.model import PublisherId
from edge_agent.outbox.losses import Loss, in_groups
from edge_agent.outbox.ranges import Ranges, Span

MAX_RELEASED_ROWS = 10_000
"""Rows deleted in one commit: letting go of a large backlog must not hold up the readings of the moment."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a commit writes besides new rows.

    Attributes:
        acknowledged: all that a publisher has got through, where that has changed.
        released: rows that everybody has.
        confirmed: what publishers have newly got through, to be counted.
        damaged: rows that cannot be read back.
        losses: what was lost before it came into the log.
        letters: rows that a publisher's broker refused for what they are.
        oldest: the oldest row that a publisher has still to get; not written, asked for when it is from.
    """

    acknowledged: Mapping[PublisherId, Sequence[Span]] = field(default_factory=dict)
    released: Sequence[Span] = ()
    confirmed: Mapping[PublisherId, Sequence[Span]] = field(default_factory=dict)
    damaged: Sequence[Span] = ()
    losses: Sequence[Loss] = ()
    letters: Sequence[tuple[PublisherId, int, str]] = ()
    oldest: Mapping[PublisherId, int] = field(default_factory=dict)

    @property
    def is_something(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.acknowledged or self.released or self.damaged or self.losses or self.letters)


class Ledger:
    """The present state of the log, without the readings.

    Args:
        kept: ids of the rows that are in the file.
        last_id: the highest id that was ever given to a row.
        acknowledged: for each configured publisher the ids that it has got through.

    Attributes:
        told: rows that could not be read back while this process ran, and of which gap records tell.
    """

    def __init__(self, kept: Ranges, last_id: int, acknowledged: dict[PublisherId, Ranges]) -> None:
        self.kept = kept
        self.last_id = last_id
        self.acknowledged = acknowledged
        self.told = Ranges()
        self._fresh: dict[PublisherId, Ranges] = {}
        self._damaged = Ranges()
        self._losses: list[Loss] = []
        self._letters: list[tuple[PublisherId, int, str]] = []
        self._plan = Plan()

    def confirm(self, publisher: PublisherId, row_ids: Iterable[int]) -> None:
        """Take note that ``publisher`` has got through rows.

        Raises:
            ValueError: there is no such row yet.
        """
        ids = list(row_ids)
        if ids and not 1 <= min(ids) <= max(ids) <= self.last_id:
            raise ValueError(f"rows {min(ids)} to {max(ids)} confirmed, the log ends at {self.last_id}")
        acknowledged = self.acknowledged[publisher]
        for row_id in ids:
            if row_id not in acknowledged:
                acknowledged.add(row_id)
                self._fresh.setdefault(publisher, Ranges()).add(row_id)

    def set_aside(self, publisher: PublisherId, row_ids: Iterable[int], reason: str) -> None:
        """The broker of ``publisher`` refuses rows for what they are: the next commit makes them dead letters."""
        acknowledged = self.acknowledged[publisher]
        for row_id in row_ids:
            if row_id not in acknowledged and row_id in self.kept:
                acknowledged.add(row_id)
                self._letters.append((publisher, row_id, reason))

    def give_up(self, row_ids: Iterable[int]) -> None:
        """Rows cannot be read back: nobody is owed them any more, and the next commit notes the loss."""
        for row_id in row_ids:
            self.kept.discard(row_id)
            self._damaged.add(row_id)

    def note_all(self, losses: Iterable[Loss]) -> None:
        """Readings were lost before they came into the log; the next commit notes it."""
        self._losses.extend(losses)

    def renew(
        self, kept: Ranges, last_id: int, acknowledged: Mapping[PublisherId, Ranges], *, is_new: bool
    ) -> None:
        """The file was opened again, or is another one: what it holds counts, and what was confirmed meanwhile."""
        self.kept, self.last_id = kept, max(last_id, self.last_id)
        self._damaged = Ranges() if is_new else self._damaged
        for row_id in (row_id for first, last in self._damaged for row_id in range(first, last + 1)):
            kept.discard(row_id)
        for publisher, mine in self.acknowledged.items():
            there = acknowledged.get(publisher, Ranges())
            for span in there:
                mine.add(*span)
            if mine != there:
                self._fresh.setdefault(publisher, Ranges())
                for span in mine:
                    for fresh in there.gaps(*span):
                        self._fresh[publisher].add(*fresh)

    def configure(self, publishers: Iterable[PublisherId]) -> None:
        """Other publishers are configured; of one that comes, ``renew`` says what it has got through."""
        self.acknowledged = {one: self.acknowledged.get(one, Ranges()) for one in publishers}
        self._fresh = {one: fresh for one, fresh in self._fresh.items() if one in self.acknowledged}
        self._letters = [letter for letter in self._letters if letter[0] in self.acknowledged]

    def take_back(self, rows: Iterable[Span], acknowledged: Mapping[PublisherId, Ranges]) -> None:
        """Rows and acknowledgements of a damaged file are back."""
        for span in rows:
            self.kept.add(*span)
        for publisher, there in acknowledged.items():
            if publisher in self.acknowledged:
                for span in there:
                    self.acknowledged[publisher].add(*span)
                    self._fresh.setdefault(publisher, Ranges()).add(*span)

    def owed(self, publisher: PublisherId, first: int, last: int) -> Iterator[Span]:
        """Yield the rows from ``first`` to ``last`` that the publisher has not acknowledged, in id order."""
        return self.kept.without(self.acknowledged[publisher], first, last)

    def pending(self, publisher: PublisherId) -> int:
        """Return how many rows the publisher has not acknowledged."""
        return sum(last - first + 1 for first, last in self.owed(publisher, 1, self.last_id))

    def plan(self) -> Plan:
        """Return what the next commit has to write."""
        self._plan = Plan(
            {
                one: self.acknowledged[one].spans()
                for one in self._fresh.keys() | {who for who, *_ in self._letters}
            },
            _head(self._released(), MAX_RELEASED_ROWS),
            {publisher: fresh.spans() for publisher, fresh in self._fresh.items()},
            self._damaged.spans(),
            self._losses,
            self._letters,
            {one: first for one in self.acknowledged for first, _ in islice(self.owed(one, 1, self.last_id), 1)},
        )
        self._fresh, self._damaged, self._losses, self._letters = {}, Ranges(), [], []
        return self._plan

    def settle(
        self,
        row_count: int,
        pre_acknowledged: Iterable[tuple[PublisherId, int]] = (),
        dropped: Iterable[Span] = (),
    ) -> None:
        """The commit is on disk.

        Args:
            row_count: so many rows came to the end of the log.
            pre_acknowledged: publishers that do not get one of them.
            dropped: rows that gave way, some of the new ones perhaps.
        """
        for first, last in self._plan.released:
            self.kept.discard(first, last)
        for first, last in self._plan.damaged:
            self.told.add(first, last)
        if row_count:
            self.kept.add(self.last_id + 1, self.last_id + row_count)
            self.last_id += row_count
        for publisher, row_id in pre_acknowledged:
            self.acknowledged[publisher].add(row_id)
        for first, last in dropped:
            self.kept.discard(first, last)
        self._plan = Plan()

    def fail(self) -> None:
        """The commit did not happen; the next one writes the same and what has come since."""
        for publisher, spans in self._plan.confirmed.items():
            fresh = self._fresh.setdefault(publisher, Ranges())
            for first, last in spans:
                fresh.add(first, last)
        for first, last in self._plan.damaged:
            self._damaged.add(first, last)
        self._losses = list(in_groups([*self._plan.losses, *self._losses]))
        self._letters = [*self._plan.letters, *self._letters]
        self._plan = Plan()

    def _released(self) -> Ranges:
        """Rows that every configured publisher has; none without publishers: they are owed to the next one."""
        if not self.acknowledged:
            return Ranges()
        released = self.kept
        for acknowledged in self.acknowledged.values():
            released = released.common(acknowledged)
        return released


def _head(ranges: Ranges, limit: int) -> list[Span]:
    spans = []
    for first, last in ranges:
        if limit <= 0:
            break
        last = min(last, first + limit - 1)  # noqa: PLW2901 - shortened to the limit
        limit -= last - first + 1
        spans.append((first, last))
    return spans
