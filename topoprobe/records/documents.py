"""Reading and writing the four documents as JSON bytes. Files are opened elsewhere (`cli`)."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from topoprobe.errors import InputError
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.records.run import RunDocument
from topoprobe.records.upgrades import upgrade

Document = MachineDocument | ResultsDocument | CalibrationDocument | RunDocument
KINDS: dict[str, type[Document]] = {
    "machine": MachineDocument,
    "results": ResultsDocument,
    "calibration": CalibrationDocument,
    "run": RunDocument,
}
_PREFIX = "topoprobe."
T = TypeVar("T", MachineDocument, ResultsDocument, CalibrationDocument, RunDocument)


def encode(document: Document) -> bytes:
    """Write a document as indented JSON with a final newline.

    Raises
    ------
    ValueError
        If it holds a NaN or an infinity, which JSON cannot express.
    """
    _refuse_non_finite(msgspec.to_builtins(document), type(document).__name__)
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, name: str = "the document") -> Document:
    """Read a document of any kind; its ``schema`` field tells which.

    Parameters
    ----------
    data : bytes
        JSON text.
    name : str
        How error messages call it, usually the file's name.

    Raises
    ------
    InputError
        If it is empty, not JSON, not a topoprobe document, too new, or does not validate.
    """
    if not data.strip():
        raise InputError(f"{name} is empty; expected a topoprobe JSON document.")
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not valid JSON: {error}.") from error
    kind = kind_of(raw)
    if kind is None:
        expected = ", ".join(_PREFIX + known for known in KINDS)
        raise InputError(f'{name} has no known "schema" field; expected one of {expected}.')
    try:
        return msgspec.convert(upgrade(kind, raw), KINDS[kind])
    except msgspec.ValidationError as error:
        raise InputError(f"{name} is not a valid {kind} document: {error}.") from error
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def decode_as(data: bytes, wanted: type[T], name: str = "the document") -> T:
    """Read a document that has to be of one kind.

    Raises
    ------
    InputError
        As `decode`, and if it is of another kind.
    """
    document = decode(data, name)
    if not isinstance(document, wanted):
        raise InputError(f"{name} is a {_kind_name(type(document))} document; "
                         f"expected a {_kind_name(wanted)} document.")  # fmt: skip
    return document


def kind_of(raw: Any) -> str | None:
    """Name the kind of a decoded JSON value, or None if it is no topoprobe document."""
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, str) and schema.removeprefix(_PREFIX) in KINDS:
        return schema.removeprefix(_PREFIX)
    return None


def _kind_name(document_type: type[Document]) -> str:
    return next(kind for kind, known in KINDS.items() if known is document_type)


def _refuse_non_finite(value: Any, path: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value}; a missing number is null with a reason.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_non_finite(item, f"{path}[{index}]")
