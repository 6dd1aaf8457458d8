"""`nvidia-smi -q -x`: what the driver says of each GPU, as XML."""

from __future__ import annotations

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts


def read(data: bytes, name: str) -> Facts:
    """Read it."""
    raise InputError(f"{name} is the output of `nvidia-smi -q -x`, which is not read.")
