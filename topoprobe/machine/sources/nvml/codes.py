"""NVML's return codes and enumerations by their C names, the same in all bindings [nvml]."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """``nvmlReturn_t``, without the prefix ``NVML_ERROR_``."""

    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    INSUFFICIENT_SIZE = 7
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    OPERATING_SYSTEM = 17
    LIB_RM_VERSION_MISMATCH = 18
    ARGUMENT_VERSION_MISMATCH = 25
    GPU_NOT_FOUND = 28
    UNKNOWN = 999


class FarEnd(IntEnum):
    """``nvmlIntNvLinkDeviceType_t``: what is at the other end of an NVLink."""

    GPU = 0
    IBM_NPU = 1
    SWITCH = 2
    UNKNOWN = 255


class Field(IntEnum):
    """``NVML_FI_DEV_…``: what `nvmlDeviceGetFieldValues` is asked for."""

    NVLINK_LINK_COUNT = 91
    C2C_LINK_COUNT = 170
    C2C_LINK_GET_STATUS = 171
    C2C_LINK_GET_MAX_BW = 172  # MB/s, one link, one direction
    GET_GPU_RECOVERY_ACTION = 230


class PeerAccess(IntEnum):
    """``nvmlGpuP2PCapsIndex_t``: the binding has a tuple where the first of them should be."""

    READ = 0
    WRITE = 1


UNCORRECTED = 1  # nvmlMemoryErrorType_t
VOLATILE, AGGREGATE = 0, 1  # nvmlEccCounterType_t
SCOPE_NODE = 0  # nvmlAffinityScope_t
NVLINK_PEER_ACCESS = 0  # NVML_NVLINK_CAP_P2P_SUPPORTED
MAX_NVLINKS = 36
MAX_PERFORMANCE_STATE = 15
GPU_IDLE = 0x1  # nvmlClocksEventReasonGpuIdle
CLOCK_SM, CLOCK_MEMORY = 1, 2
SENSOR_GPU = 0


# What the driver's library says of a code (nvmlErrorString).
WORDS = {
    Code.UNINITIALIZED: "Uninitialized",
    Code.INVALID_ARGUMENT: "Invalid Argument",
    Code.NOT_SUPPORTED: "Not Supported",
    Code.NO_PERMISSION: "Insufficient Permissions",
    Code.NOT_FOUND: "Not Found",
    Code.INSUFFICIENT_SIZE: "Insufficient Size",
    Code.DRIVER_NOT_LOADED: "Driver Not Loaded",
    Code.TIMEOUT: "Timeout",
    Code.LIBRARY_NOT_FOUND: "NVML Shared Library Not Found",
    Code.FUNCTION_NOT_FOUND: "Function Not Found",
    Code.GPU_IS_LOST: "GPU is lost",
    Code.OPERATING_SYSTEM: "The operating system has blocked the request.",
    Code.LIB_RM_VERSION_MISMATCH: "RM has detected an NVML/RM version mismatch.",
    Code.ARGUMENT_VERSION_MISMATCH: "Argument version mismatch",
    Code.GPU_NOT_FOUND: "GPU Not Found",
    Code.UNKNOWN: "Unknown Error",
}
