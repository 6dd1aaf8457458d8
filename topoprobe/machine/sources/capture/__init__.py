"""Capturing a machine so that it can be read elsewhere as it was read here.

While the machine is read, every file, folder, link and answer of the driver that a reader asks for
is remembered (`recorder`, `nvml.recording`); names, serial numbers and addresses are replaced
(`blanking`); and all of it becomes a small tree of the usual kind in a tar archive (`packing`),
which is read like any other copy of `/sys` (`replay` adds the driver's answers).
"""
