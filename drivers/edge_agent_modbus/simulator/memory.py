"""The tables of one unit: what its points hold at this moment, and what was written over them."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress

from edge_agent_modbus.encode import part_of_register
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.simulator.fit import Register
from edge_agent_modbus.simulator.request import Block
from edge_agent_modbus.simulator.signals import Course, Moment
from edge_agent_modbus.source import Source


class Cell:
    """One point and how it moves."""

    def __init__(self, source: Source, course: Course) -> None:
        self.source = source
        self._course = course
        self._register = Register(source)
        self._words = [0] * source.size
        self.is_part = not source.table.has_bits and source.size == 1 and part_of_register(source) is not None

    def words(self, moment: Moment) -> list[int]:
        """Return what it holds: what it held before, while the type cannot say it (an hour that comes twice)."""
        with suppress(ValueError):
            self._words = self._register.words(self._course(moment))
        return self._words


class Memory:
    """Coils and registers.

    Args:
        cells: the points and how they move; where two overlap the later one counts, parts of a register join.
        has_gaps: what lies between two points of a table can be read, as zeros. Beyond them nothing can.
    """

    def __init__(self, cells: Iterable[Cell], *, has_gaps: bool) -> None:
        self._tables = {table: _Cells([]) for table in Table}
        by_table: dict[Table, list[Cell]] = {}
        for cell in cells:
            by_table.setdefault(cell.source.table, []).append(cell)
        self._tables |= {table: _Cells(group) for table, group in by_table.items()}
        self._has_gaps = has_gaps
        self._written: dict[tuple[Table, int], int] = {}

    def holds(self, block: Block) -> bool:
        """Return whether every address of ``block`` exists."""
        cells = self._tables[block.table]
        if self._has_gaps:
            return cells.first <= block.address and block.end <= cells.end
        reached = block.address
        for cell in cells.within(block):
            if cell.source.address > reached:
                return False
            reached = max(reached, cell.source.end)
        return reached >= block.end

    def read(self, block: Block, moment: Moment) -> list[int]:
        """Return coils (0, 1) or registers."""
        image = [0] * block.count
        for cell in sorted(self._tables[block.table].within(block), key=lambda cell: cell.source.index):
            for address, word in enumerate(cell.words(moment), cell.source.address - block.address):
                if 0 <= address < block.count:
                    image[address] = image[address] | word if cell.is_part else word
        for (table, address), word in self._written.items():
            if table is block.table and block.address <= address < block.end:
                image[address - block.address] = word
        return image

    def write(self, block: Block, words: Sequence[int]) -> None:
        """Put ``words`` in place of what the signals say, until the device is switched off."""
        self._written |= {(block.table, address): word for address, word in enumerate(words, block.address)}

    def forget(self) -> None:
        """Forget what was written."""
        self._written.clear()


class _Cells:
    """The points of one table, found by address."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._cells = sorted(cells, key=lambda cell: cell.source.address)
        self._addresses = [cell.source.address for cell in self._cells]
        self._longest = max((cell.source.size for cell in self._cells), default=0)
        self.first = self._addresses[0] if self._cells else 0
        self.end = max((cell.source.end for cell in self._cells), default=-1)

    def within(self, block: Block) -> list[Cell]:
        """Return those that touch ``block``, by address."""
        begin = bisect_left(self._addresses, block.address - self._longest + 1)
        end = bisect_left(self._addresses, block.end)
        return [cell for cell in self._cells[begin:end] if cell.source.end > block.address]
