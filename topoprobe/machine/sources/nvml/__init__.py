"""NVIDIA's management library (NVML), behind one interface. No driver is a normal case.

`load` gives the live driver, or the reason why there is none; a recording and a made-up driver
answer the same questions (`recording`, `fake`). `read` asks everything.
"""

from topoprobe.machine.sources.nvml.live import load
from topoprobe.machine.sources.nvml.reading import read, unavailable

__all__ = ["load", "read", "unavailable"]
