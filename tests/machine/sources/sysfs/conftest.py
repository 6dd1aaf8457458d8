"""A made-up machine with two sockets for the tests of the sysfs reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine.sources.sysfs.fake_root import FakeRoot


@pytest.fixture
def fake(tmp_path: Path) -> FakeRoot:
    root = FakeRoot(tmp_path)
    root.cpus({0: [0, 1, 2, 3], 1: [4, 5, 6, 7]})
    root.numa(0, "0-3", 1 << 20, "10 21")
    root.numa(1, "4-7", 1 << 20, "21 10")
    return root
