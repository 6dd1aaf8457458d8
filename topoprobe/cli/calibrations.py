"""Which calibration a command is about: a document, or that of a built-in machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from topoprobe.cli.output import read_input
from topoprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topoprobe.records.calibration import CalibrationDocument


def read_calibration(name: str, *, others: Sequence[str] = ()) -> CalibrationDocument:
    """Read a calibration document, or make up that of a built-in machine.

    Parameters
    ----------
    name : str
        The path of a document, ``-`` for stdin, or the name of a built-in machine. What exists as
        a path is read as one.
    others : sequence of str
        Further names that the caller would have taken, for the message.

    Raises
    ------
    InputError
        If it is neither, or not a calibration.
    """
    from topoprobe.model.calibration.builtin import BUILTIN_NAMES, builtin_calibration
    from topoprobe.records.calibration import CalibrationDocument
    from topoprobe.records.documents import decode_as

    if name != "-" and not Path(name).exists():
        built_in = builtin_calibration(name)
        if built_in is None:
            names = ", ".join((*BUILTIN_NAMES, *others))
            raise InputError(
                f"{name} is not a file and not built in; give a calibration document or one of "
                f"{names}."
            )
        return built_in
    return decode_as(read_input(name), CalibrationDocument, name)
