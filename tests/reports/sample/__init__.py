"""Documents built in code, from an empty machine to a full server, for the tests of the report.

The numbers are invented and only plausible; every name says so where a reader could be misled.
"""

from .calibrations import CPU_FLOWS, server_calibration, vm_calibration
from .estimates import MODEL, TOOL, measured, nominal
from .machines import (
    GEN1_X16,
    GEN4_X4,
    GEN4_X8,
    GEN4_X16,
    GEN5_X16,
    NVLINK4,
    empty_machine,
    server_machine,
    vm_machine,
)
from .results import vm_results
from .runs import vm_run

__all__ = [
    "CPU_FLOWS",
    "GEN1_X16",
    "GEN4_X4",
    "GEN4_X8",
    "GEN4_X16",
    "GEN5_X16",
    "MODEL",
    "NVLINK4",
    "TOOL",
    "empty_machine",
    "measured",
    "nominal",
    "server_calibration",
    "server_machine",
    "vm_calibration",
    "vm_machine",
    "vm_results",
    "vm_run",
]
