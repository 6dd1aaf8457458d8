"""Ctrl-C while measuring: the first asks to stop and keep what there is, the second ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from topoprobe.cli.terminal import note


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C (and SIGTERM) inside the block.

    Yields
    ------
    callable
        True once the person asked to stop.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        note("\ntopoprobe: stopping after this sample; once more to stop at once.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
