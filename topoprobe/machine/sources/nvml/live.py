"""The driver of this machine: the only place that imports pynvml.

The binding gives ctypes structures, handles and exceptions; all of them end here.
"""

from __future__ import annotations

import ctypes
from typing import Any

from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.provider import Answer, Provider

_LIBRARY = "libnvidia-ml.so.1"

# How the handles that these functions give are called.
_HANDLES = {
    "nvmlDeviceGetHandleByIndex": "gpu:{}",
    "nvmlDeviceGetHandleByPciBusId": "gpu@{}",
    "nvmlDeviceGetMigDeviceHandleByIndex": "{}/mig:{}",
}
# Functions that fill a structure of the caller, whose size tells the driver its version: the
# newest first, because an older driver refuses what it does not know.
_STRUCTURES = {
    "nvmlDeviceGetGpuFabricInfoV": ("c_nvmlGpuFabricInfo_v3_t", "c_nvmlGpuFabricInfo_v2_t"),
    "nvmlDeviceGetPlatformInfo": ("c_nvmlPlatformInfo_v2_t", "c_nvmlPlatformInfo_v1_t"),
}
_REFUSED_VERSION = {Code.INVALID_ARGUMENT, Code.ARGUMENT_VERSION_MISMATCH}
# Identifiers in binary, which nobody asks for and which are private.
_LEFT_OUT = {"ibGuid", "rackGuid", "chassisSerialNumber"}
# Members of the union in a field's value, in the order of ``nvmlValueType_t``.
_VALUE_TYPES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

_WHY_NOT_STARTED = {
    Code.LIBRARY_NOT_FOUND: "NVML library not found: there is no NVIDIA driver here.",
    Code.DRIVER_NOT_LOADED: "The NVIDIA driver is installed but its kernel module is not loaded; "
    "try `modprobe nvidia`, and `dmesg` if that fails.",
    Code.LIB_RM_VERSION_MISMATCH: "The NVIDIA driver's library and its kernel module are of "
    "different versions, as after an update; reboot, or reload the module.",
    Code.NO_PERMISSION: "The NVIDIA driver lets only other users in; check the permissions of "
    "/dev/nvidia*, or how the container was given its GPUs.",
    Code.GPU_IS_LOST: "The NVIDIA driver does not start because a GPU fell off the bus; reboot, "
    "and look for `Xid` in `dmesg`.",
}


class LiveProvider:
    """Asks the driver of this machine.

    Parameters
    ----------
    binding : module
        `pynvml`, initialised.
    """

    def __init__(self, binding: Any) -> None:
        self._binding = binding
        self._handles: dict[str, Any] = {}

    def ask(self, function: str, *arguments: Any) -> Answer:
        """Call one function of the library."""
        try:
            value = self._call(function, self._own(arguments))
            name = _HANDLES.get(function)
            if name is None:
                return Answer(plain(value))
        except Exception as error:
            return self._refusal(function, error)
        handle = name.format(*arguments)
        self._handles[handle] = value
        return Answer(handle)

    def _own(self, arguments: tuple[Any, ...]) -> list[Any]:
        """Put handles in place of their names; a name taken for a handle would crash the driver."""
        return [
            self._handles[a] if isinstance(a, str) and a.startswith("gpu") else a for a in arguments
        ]

    def _call(self, function: str, arguments: list[Any]) -> Any:
        call = getattr(self._binding, function)
        names = [n for n in _STRUCTURES.get(function, ()) if hasattr(self._binding, n)]
        if not names:
            return call(*arguments)
        *newer, oldest = (getattr(self._binding, name)() for name in names)
        for structure in newer:
            try:
                call(*arguments, ctypes.byref(structure))
            except self._binding.NVMLError as error:
                if error.value not in _REFUSED_VERSION:
                    raise
            else:
                return structure
        call(*arguments, ctypes.byref(oldest))
        return oldest

    def _refusal(self, function: str, error: Exception) -> Answer:
        if isinstance(error, KeyError):
            return Answer(None, f"{function} failed: {error} was never opened.")
        if isinstance(error, AttributeError) and not hasattr(self._binding, function):
            reason = f"The installed nvidia-ml-py does not know {function}; update it."
            return Answer(None, reason, Code.FUNCTION_NOT_FOUND)
        code = getattr(error, "value", None)
        reason = f"{function} failed: {str(error).rstrip('.')}."
        return Answer(None, reason, code if isinstance(code, int) else None)


def load() -> Provider | str:
    """Return the driver, initialised; or the reason why there is none, in a sentence."""
    reason = _missing_library()
    if reason is not None:
        return reason
    try:
        import pynvml
    except ImportError:
        return "The Python package nvidia-ml-py is not installed."
    try:
        pynvml.nvmlInit()
    except Exception as error:
        words = f"NVML does not start: {str(error).rstrip('.')}."
        return _WHY_NOT_STARTED.get(getattr(error, "value", None), words)  # type: ignore[arg-type]
    return LiveProvider(pynvml)


def _missing_library() -> str | None:
    """Look for the library before the binding is imported, which takes longer than a small scan."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        if "No such file" in str(error):
            return _WHY_NOT_STARTED[Code.LIBRARY_NOT_FOUND]
        return f"The NVIDIA driver's library cannot be loaded: {error}."
    return None


def plain(value: Any) -> Any:
    """Turn what the binding gives into data that JSON can hold.

    Parameters
    ----------
    value : object
        A ctypes structure, array or number, bytes, or one of the binding's own objects.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, list | tuple | ctypes.Array):
        return [plain(one) for one in value]
    if isinstance(value, ctypes.Structure):
        return _field_value(value) if hasattr(value, "nvmlReturn") else _members(value)
    if hasattr(value, "value"):
        return plain(value.value)
    return {name: plain(member) for name, member in vars(value).items()}


def _members(structure: ctypes.Structure) -> dict[str, Any]:
    found = {}
    for name, kind, *_ in structure._fields_:
        if name in _LEFT_OUT:
            continue
        # The binding's own way to a member decodes bytes and fails on those that are no text; it
        # declares some small numbers as characters.
        value = ctypes.Structure.__getattribute__(structure, name)
        found[name] = value[0] if kind is ctypes.c_char else plain(value)
    return found


def _field_value(field: Any) -> dict[str, Any]:
    """Return a field's value by the type that the reply states; when and how long is of no use."""
    is_told = field.nvmlReturn == 0 and field.valueType < len(_VALUE_TYPES)
    return {
        "fieldId": field.fieldId,
        "scopeId": field.scopeId,
        "nvmlReturn": field.nvmlReturn,
        "value": getattr(field.value, _VALUE_TYPES[field.valueType]) if is_told else None,
    }
