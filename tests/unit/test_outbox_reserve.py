"""The floor under the free space, and the ballast."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_agent.outbox.reserve import BALLAST_BYTES, BALLAST_NAME, Reserve


def test_what_is_spare_ends_at_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = Reserve(tmp_path, 1000)
    for blocks, expected in ((9, -100), (10, 0), (11, 100)):
        monkeypatch.setattr(os, "statvfs", lambda _, b=blocks: SimpleNamespace(f_bavail=b, f_frsize=100))
        assert reserve.spare_bytes == expected


def test_a_directory_that_cannot_be_asked_has_room(tmp_path: Path) -> None:
    assert Reserve(tmp_path / "none", 2**62).spare_bytes > 2**60


def test_the_ballast_takes_real_space_and_is_given_back_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, 0)
    reserve.take_on()
    reserve.take_on()
    found = (tmp_path / BALLAST_NAME).stat()
    assert found.st_size == BALLAST_BYTES <= found.st_blocks * 512
    assert reserve.throw_off()
    assert not reserve.throw_off()
    assert list(tmp_path.iterdir()) == []


def test_no_ballast_is_made_below_the_floor(tmp_path: Path) -> None:
    Reserve(tmp_path, 2**62).take_on()
    assert list(tmp_path.iterdir()) == []


def test_a_ballast_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    Reserve(tmp_path, 0).take_on()
    assert list(tmp_path.iterdir()) == []
