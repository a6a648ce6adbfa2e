"""The kit itself: it passes a driver that keeps the contract and catches each way of breaking it."""

import asyncio
from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pytest

from edge_agent.driver import Emit, Request
from edge_agent.errors import DeviceUnavailableError
from edge_agent.model import Column, DataType, DeviceId, ReadingBatch
from edge_agent.testing.conformance import check_device, check_unavailable

DEVICE = DeviceId("d")


@dataclass
class One:
    points: Sequence[int]

    def __str__(self) -> str:
        return f"read {self.points}"


def readings(points: Sequence[int]) -> ReadingBatch:
    return ReadingBatch(
        DEVICE, 1, (Column(DataType.INT16, array("H", points), array("h", [0] * len(points))),), frozenset()
    )


@dataclass
class Honest:
    """Two polled points, one reported; its own session."""

    polled: Sequence[int] = (0, 1)
    reported: Sequence[int] = (2,)
    is_served: bool = True
    left_behind: list["asyncio.Task[None]"] = field(default_factory=list)

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        shared = sorted(set(points) - refused)
        return [One(shared)] * bool(shared) + [One([index]) for index in sorted(refused & set(points))]

    async def connect(self) -> "Honest":
        if not self.is_served:
            raise DeviceUnavailableError("nobody there")
        return self

    async def read(self, request: Request) -> ReadingBatch:
        await asyncio.sleep(0)
        return readings(request.points)

    async def run(self, emit: Emit) -> None:
        await emit(readings(self.reported))
        await asyncio.Event().wait()

    async def close(self) -> None:
        await asyncio.sleep(0)


class ForgetsAPoint(Honest):
    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        return super().plan(list(points)[1:], refused)


class KeepsTheRefusedAmongTheOthers(Honest):
    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        return super().plan(points, frozenset())


class AnswersForAnother(Honest):
    async def read(self, request: Request) -> ReadingBatch:
        return readings([2])


class NeverReports(Honest):
    async def run(self, emit: Emit) -> None:
        await asyncio.Event().wait()


class ClosesOnce(Honest):
    closes = 0

    async def close(self) -> None:
        self.closes += 1
        assert self.closes < 2, "closed twice"


class MixesUpTheLengths(Honest):
    async def read(self, request: Request) -> ReadingBatch:
        column = Column(DataType.INT16, array("H", request.points), array("h", [1]))
        return ReadingBatch(DEVICE, 1, (column,))


class LeavesATask(Honest):
    async def connect(self) -> Honest:
        loop = asyncio.get_running_loop()
        self.left_behind.append(loop.create_task(asyncio.sleep(30), name="left behind"))
        return self


async def test_a_driver_that_keeps_the_contract_passes() -> None:
    await check_device(Honest(), point_count=3)
    await check_unavailable(Honest(is_served=False))


@pytest.mark.parametrize(
    "broken",
    [
        ForgetsAPoint,
        KeepsTheRefusedAmongTheOthers,
        AnswersForAnother,
        NeverReports,
        ClosesOnce,
        MixesUpTheLengths,
    ],
)
async def test_a_driver_that_breaks_it_is_caught(broken: type[Honest]) -> None:
    with pytest.raises(AssertionError):
        await check_device(broken(), point_count=3, within_s=0.3)


async def test_a_task_left_behind_is_caught() -> None:
    device = LeavesATask()
    try:
        with pytest.raises(AssertionError, match="left behind"):
            await check_device(device, point_count=3)
    finally:
        for task in device.left_behind:
            task.cancel()
        await asyncio.wait(device.left_behind)


async def test_a_server_that_is_there_is_not_unavailable() -> None:
    with pytest.raises(AssertionError, match="not there"):
        await check_unavailable(Honest())


async def test_points_that_are_neither_polled_nor_reported_are_caught() -> None:
    with pytest.raises(AssertionError, match="do not cover"):
        await check_device(Honest(), point_count=4)
