"""Whether NVIDIA's driver answers, and for all GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, PciNode

NAME = "driver"
_NVIDIA = "10de"


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare the GPUs on the bus with those that the driver shows."""
    gpus = [gpu for gpu in machine.all(Gpu) if gpu.pci_vendor == _NVIDIA]
    unknown = machine.document.unknown
    for lost in (m for m in unknown if m.fact.startswith("NVML GPU")):
        yield fail(
            NAME,
            "host",
            f"The driver counts {lost.fact.removeprefix('NVML ')} and cannot reach it: "
            f"{lost.reason}",
            "Look for Xid 79 in the kernel's log (fallen off the bus): restart the machine, and if "
            "it comes again check power, cooling and seat of the card.",
        )
    silence = next((m.reason for m in unknown if m.fact == "nvml"), None)
    if not machine.all(Gpu) and not _shows_devices(machine):
        yield warn(
            NAME,
            "host",
            "Whether there is a GPU cannot be told: the recording shows no PCI devices.",
            "Give `lspci -vvv` or `nvidia-smi -q -x` of the same machine too.",
        )
    elif not machine.all(Gpu):
        is_here = machine.document.origin == "live"
        rest = ": CPU cores, memory and drives can still be profiled" if is_here else ""
        yield ok(NAME, "host", f"There is no GPU{rest}.")
    elif gpus and silence is not None:
        yield _no_driver(machine, gpus, silence)
    elif gpus and machine.document.origin != "synthetic":
        yield from _hidden(machine, gpus)


CHECK = Check(NAME, "GPUs answer", judge)


def _shows_devices(machine: Machine) -> bool:
    """Tell whether the sources would show a GPU if there were one."""
    if machine.document.origin != "recorded":
        return True
    is_asked = any(missing.fact == "GPUs" for missing in machine.document.unknown)
    return is_asked or any(
        isinstance(node, PciNode) and node.pci_address for node in machine.document.nodes
    )


def _no_driver(machine: Machine, gpus: list[Gpu], reason: str) -> Verdict:
    evidence = f"{count(len(gpus), 'NVIDIA GPU')} cannot be used: {reason}"
    given_away = sorted({gpu.driver for gpu in gpus if gpu.driver and "nvidia" not in gpu.driver})
    if machine.document.origin != "live":
        return ok(NAME, "host", f"Nothing is known of the driver's side: {reason}")
    if given_away:
        fix = f"They are bound to {', '.join(given_away)}; unbind them and load NVIDIA's driver."
        return warn(NAME, "host", evidence, fix)
    if machine.host is not None and machine.host.is_container:
        fix = "Start the container with the GPUs (docker run --gpus all, NVIDIA's runtime)."
        return warn(NAME, "host", evidence, fix)
    fix = "Install or load NVIDIA's driver (modprobe nvidia); after an update restart the machine."
    return fail(NAME, "host", evidence, fix)


def _hidden(machine: Machine, gpus: list[Gpu]) -> Iterator[Verdict]:
    """Find GPUs that the driver does not show although it shows others."""
    shown = [gpu for gpu in gpus if gpu.uuid is not None or gpu.memory_bytes is not None]
    drivers = sorted({gpu.driver for gpu in shown if gpu.driver})
    if not shown:
        return
    yield ok(
        NAME,
        "host",
        f"{', '.join(drivers) or 'The driver'} shows {len(shown)} of {count(len(gpus), 'GPU')}.",
    )
    for gpu in gpus:
        if gpu not in shown and machine.document.origin == "live":
            yield warn(
                NAME,
                gpu.id,
                f"Is on the PCI bus, and the driver does not show it (bound to {gpu.driver}).",
                "If this container or job was not given it, leave it; otherwise look for Xid 79 "
                "in the kernel's log and restart the machine.",
            )
