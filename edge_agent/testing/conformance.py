"""What every driver must do, as checks that anyone can run their driver through.

Give a check a configured device and a server that serves it; it raises AssertionError with what is wrong::

    async def test_conforms() -> None:
        async with my_server() as port:
            device = DRIVER.create(FakeContext(), MyDevice(id="d", driver="my", port=port, points=[...]))
            await check_device(device, point_count=3)
"""

import asyncio
from array import array
from collections.abc import Sequence

from edge_agent.driver import Device, Estimate, Estimating, Session
from edge_agent.errors import DeviceUnavailableError
from edge_agent.model import Column, DataType, ReadingBatch, is_bad


async def check_device(device: Device, *, point_count: int, within_s: float = 10.0) -> None:
    """Run every check that a device with a working server must pass."""
    check_points(device, point_count)
    check_plan(device)
    await check_closing(device, within_s)
    if device.polled:
        await check_reading(device, within_s)
        await check_cancelled_read(device, within_s)
    if device.reported:
        await check_reporting(device, within_s)


def check_points(device: Device, point_count: int) -> None:
    """Each point is polled or reported, not both, and none is invented."""
    both = [*device.polled, *device.reported]
    assert sorted(both) == list(range(point_count)), f"polled and reported do not cover the points: {both}"


def check_plan(device: Device) -> None:
    """Each point is in exactly one request; the order given does not matter; refused points are alone."""
    points = list(device.polled)
    _each_once(device, points, frozenset())
    forward = [list(request.points) for request in device.plan(points, frozenset())]
    backward = [list(request.points) for request in device.plan(points[::-1], frozenset())]
    assert sorted(map(sorted, forward)) == sorted(map(sorted, backward)), "the plan depends on the order of points"
    for refused in points[:50]:
        requests = _each_once(device, points, frozenset({refused}))
        assert [refused] in requests, f"refused point {refused} shares a request"
    assert list(device.plan([], frozenset())) == [], "nothing to read, but a request"
    for request in device.plan(points, frozenset()):
        assert str(request), "a request does not print itself"
        if isinstance(device, Estimating):
            _check_estimate(device.estimate(request))


async def check_closing(device: Device, within_s: float) -> None:
    """A session closes twice in silence, and leaves no task behind."""
    before = asyncio.all_tasks()
    session = await _connect(device, within_s)
    async with asyncio.timeout(within_s):
        await session.close()
        await session.close()
    await _no_task_left(before)


async def check_reading(device: Device, within_s: float) -> None:
    """Each request is answered with exactly one well-formed reading for each of its points."""
    session = await _connect(device, within_s)
    try:
        for request in device.plan(device.polled, frozenset()):
            async with asyncio.timeout(within_s):
                batch = await session.read(request)
            check_batch(batch)
            got = sorted(index for column in batch.columns for index in column.points)
            assert got == sorted(request.points), f"asked for {sorted(request.points)}, got {got}"
            assert batch.refused <= set(request.points), "refused a point that was not asked for"
    finally:
        await session.close()


async def check_cancelled_read(device: Device, within_s: float) -> None:
    """After a read that was cancelled, the next one gives its own points, or says that the session is dead."""
    requests = device.plan(device.polled, frozenset())
    session = await _connect(device, within_s)
    try:
        for request in requests:
            task_timeout = asyncio.timeout(0)
            try:
                async with task_timeout:
                    await session.read(request)
            except TimeoutError:
                pass
            try:
                async with asyncio.timeout(within_s):
                    batch = await session.read(requests[0])
            except DeviceUnavailableError:
                return
            got = sorted(index for column in batch.columns for index in column.points)
            assert got == sorted(requests[0].points), "an answer was taken for another request's"
    finally:
        await session.close()


async def check_reporting(device: Device, within_s: float) -> None:
    """Every reported point gives a first reading; cancelling ``run`` leaves no task behind."""
    before = asyncio.all_tasks()
    missing = set(device.reported)
    complete = asyncio.Event()

    async def emit(batch: ReadingBatch) -> None:
        if len(batch) or not batch.lost:
            check_batch(batch)
        for column in batch.columns:
            missing.difference_update(column.points)
        if not missing:
            complete.set()

    session = await _connect(device, within_s)
    try:
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
            running = group.create_task(session.run(emit))
            await complete.wait()
            running.cancel()
    except TimeoutError:
        raise AssertionError(f"no first reading of points {sorted(missing)} within {within_s} s") from None
    finally:
        await session.close()
    await _no_task_left(before)


async def check_unavailable(device: Device, *, within_s: float = 10.0) -> None:
    """A device that nobody serves raises DeviceUnavailableError with a text, and leaves no task behind."""
    before = asyncio.all_tasks()
    text: str | None = None
    try:
        session = await _connect(device, within_s)
        await session.close()
    except DeviceUnavailableError as exc:
        text = str(exc)
    assert text is not None, "connected to a server that is not there"
    assert text, "the error has no text"
    await _no_task_left(before)


def check_batch(batch: ReadingBatch) -> None:
    """Columns are well formed: equal lengths, right typecodes, NULL only with Bad."""
    assert batch.time_ns > 0
    assert len(batch) > 0, "an empty batch"
    for column in batch.columns:
        _check_column(column)


def _check_column(column: Column) -> None:
    count = len(column.points)
    assert column.points.typecode == "H", "points are typecode H"
    if column.data_type is DataType.NULL:
        assert column.values is None
        assert column.statuses is not None, "a NULL column has statuses"
        assert all(map(is_bad, column.statuses)), "a NULL column is all Bad"
    else:
        assert column.values is not None
        assert len(column.values) == count, "values and points differ in length"
        if isinstance(column.values, array):
            assert column.values.typecode == column.data_type.typecode
    if column.statuses is not None:
        assert (len(column.statuses), column.statuses.typecode) == (count, "I")
    for times_ns in (column.offsets_ns, column.lags_ns):
        if times_ns is not None:
            assert (len(times_ns), times_ns.typecode) == (count, "q")


def _check_estimate(estimate: Estimate) -> None:
    assert estimate.line, "an estimate names no line"
    assert estimate.duration_s > 0, "an exchange that takes no time"
    assert min(estimate.sent_bytes, estimate.received_bytes) > 0, "an exchange of nothing"


def _each_once(device: Device, points: Sequence[int], refused: frozenset[int]) -> list[list[int]]:
    requests = [list(request.points) for request in device.plan(points, refused)]
    planned = sorted(index for request in requests for index in request)
    assert planned == sorted(points), f"planned {planned} for {sorted(points)}"
    return requests


async def _connect(device: Device, within_s: float) -> Session:
    async with asyncio.timeout(within_s):
        return await device.connect()


async def _no_task_left(before: set["asyncio.Task[object]"]) -> None:
    for _ in range(100):
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left behind: {left}")
