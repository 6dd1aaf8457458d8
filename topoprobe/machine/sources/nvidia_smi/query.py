"""`nvidia-smi -q -x`: what the driver says of each GPU, as XML.

Tags have come, gone and moved over the driver's versions; each fact is looked for where any of
them has it. NVLinks and the place of a GPU are not in this output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from topoprobe.machine import nvidia
from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import Facts, GpuFact, HostFact, PartitionFact, PciFact
from topoprobe.machine.pcie import capability_of_generation
from topoprobe.machine.sources.nvidia_smi import words
from topoprobe.machine.sources.xml import parse
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, Fabric, Health

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

T = TypeVar("T")

_END = b"</nvidia_smi_log>"
_GENERATION, _WIDTH = "pci/pci_gpu_link_info/pcie_gen/", "pci/pci_gpu_link_info/link_widths/"
_CLOCKS = (
    "clocks_event_reasons/clocks_event_reason_",
    "clocks_throttle_reasons/clocks_throttle_reason_",
)
# Uncorrectable errors by the place where they happened; before Volta one total was printed.
_ERRORS = (
    ("sram_uncorrectable", "sram_uncorrectable_parity", "sram_uncorrectable_secded",
     "dram_uncorrectable"),
    ("double_bit/total",),
)  # fmt: skip
_TROUBLES = {
    "bandwidth": ("degraded", "bandwidth degraded"),
    "route_recovery_in_progress": ("true", "route recovery in progress"),
    "route_unhealthy": ("true", "route unhealthy"),
    "access_timeout_recovery": ("true", "recovering from an access timeout"),
}


class GpuFacts(NamedTuple):
    """Everything about one GPU."""

    function: PciFact | None
    gpu: GpuFact
    partitions: tuple[PartitionFact, ...]
    unknown: tuple[Missing, ...]
    contradictions: tuple[Contradiction, ...]


def read(data: bytes, name: str) -> Facts:
    """Read one output; of several in a row (``-l``) the first.

    Parameters
    ----------
    data : bytes
        The text.
    name : str
        How error messages and facts call it.

    Raises
    ------
    InputError
        If it is no XML, or cut off.
    """
    whole, end, _ = data.partition(_END)
    root = parse(whole + end, name)
    driver = words.bare(root.findtext("driver_version"))
    elements = root.findall("gpu")
    addresses = [_address(element) for element in elements]
    times = Counter(addresses)
    found = []
    for index, (element, address) in enumerate(zip(elements, addresses, strict=True)):
        # Blanked addresses are all the same and tell nothing.
        subject = address if address and times[address] == 1 else f"gpu:{index}"
        found.append(_Reader(element, subject).read(None if words.is_nothing(driver) else driver))
    is_guest = any(one.gpu.virtualization in nvidia.GUEST_MODES for one in found)
    return Facts(
        source=f"nvidia-smi-q {name}",
        host=HostFact(is_virtual=True) if is_guest else None,
        functions=tuple(one.function for one in found if one.function is not None),
        gpus=tuple(one.gpu for one in found),
        partitions=tuple(part for one in found for part in one.partitions),
        unknown=(
            *_missing_gpus(root, len(elements)),
            *(missing for one in found for missing in one.unknown),
        ),
        contradictions=tuple(c for one in found for c in one.contradictions),
    )


def _address(element: Element) -> str | None:
    for text in (element.get("id"), element.findtext("pci/pci_bus_id")):
        address = normal_address(words.bare(text))
        if address is not None:
            return address
    return None


def _missing_gpus(root: Element, num_printed: int) -> Iterator[Missing]:
    num_attached = words.number(words.bare(root.findtext("attached_gpus")))
    if num_attached is not None and num_attached > num_printed:
        reason = f"The driver counts {num_attached} GPUs, and {num_printed} are printed."
        yield Missing(subject="host", fact="GPUs", reason=reason)
    elif not num_printed:
        yield Missing(subject="host", fact="GPUs", reason="The recording has none.")


class _Reader:
    """Collects the facts of one GPU, and notes what is said in place of a fact."""

    def __init__(self, element: Element, subject: str) -> None:
        self._element = element
        self._subject = subject
        self._unknown: dict[str, Missing] = {}

    def read(self, driver: str | None) -> GpuFacts:
        """Read everything."""
        is_split = self._offered("is_mig_enabled", words.switch, "mig_mode/current_mig")
        slot = self._offered("chassis_slot", words.number, "platformInfo/slot_number")
        self._read_c2c()
        gpu = GpuFact(
            subject=self._subject,
            name=self._wanted("name", words.name, "product_name"),
            uuid=self._wanted("uuid", _identity, "uuid"),
            memory_bytes=self._wanted("memory_bytes", words.size, "fb_memory_usage/total"),
            bar1_bytes=self._wanted("bar1_bytes", words.size, "bar1_memory_usage/total"),
            driver=f"nvidia {driver}" if driver else None,
            is_mig_enabled=False if self._says_nothing("mig_mode/current_mig") else is_split,
            partition_mode="mig" if is_split else None,
            performance_state=self._wanted(
                "performance_state", words.performance_state, "performance_state"
            ),
            is_idle=self._offered("is_idle", words.switch, *_of_clocks("gpu idle")),
            module_id=self._offered(
                "module_id", words.number, "platformInfo/module_id", "gpu_module_id"
            ),
            virtualization=self._offered(
                "virtualization", _one_of(nvidia.VIRTUALIZATION_MODES),
                "gpu_virtualization_mode/virtualization_mode",
            ),
            addressing_mode=self._offered(
                "addressing_mode", _one_of(nvidia.ADDRESSING_MODES), "addressing_mode"
            ),
            num_pcie_replays=self._offered("num_pcie_replays", words.number, "pci/replay_counter"),
            fabric=self._read_fabric(),
            health=self._read_health(),
            chassis_slot=slot,
            chassis_tray=self._offered("chassis_tray", words.number, "platformInfo/tray_index"),
        )  # fmt: skip
        function, contradictions = self._read_function()
        return GpuFacts(
            function=function,
            gpu=gpu,
            partitions=tuple(self._read_partitions()) if is_split else (),
            unknown=tuple(self._unknown.values()),
            contradictions=contradictions,
        )

    def _read_function(self) -> tuple[PciFact | None, tuple[Contradiction, ...]]:
        current = self._wanted(
            "current", words.generation, f"{_GENERATION}current_link_gen",
            f"{_GENERATION}device_current_link_gen",
        )  # fmt: skip
        limit = self._wanted("nominal", words.generation, f"{_GENERATION}max_link_gen")
        own = self._offered("maximum", words.generation, f"{_GENERATION}max_device_link_gen")
        host = words.generation(self._said(f"{_GENERATION}max_host_link_gen") or "")
        contradictions = nvidia.impossible_generations(
            self._subject,
            current,
            (
                ("the GPU and its slot at most", limit),
                ("the GPU at most", own),
                ("the slot at most", host),
            ),
        )
        width = self._wanted("current width", words.lanes, f"{_WIDTH}current_link_width")
        max_width = self._wanted("nominal width", words.lanes, f"{_WIDTH}max_link_width")
        if self._subject.startswith("gpu:"):
            return None, contradictions
        ids = self._offered("device", words.device_and_vendor, "pci/pci_device_id")
        is_believed = limit is not None and limit >= (current or 0)
        function = PciFact(
            address=self._subject,
            kind="gpu",
            vendor=ids[1] if ids else None,
            device=ids[0] if ids else None,
            current=capability_of_generation(current, width),
            nominal=capability_of_generation(limit if is_believed else None, max_width),
            maximum=capability_of_generation(own, None),
        )
        return function, contradictions

    def _read_fabric(self) -> Fabric | None:
        state = self._offered("fabric", words.lowered, "fabric/state")
        if state is None:
            return None
        health = [
            text
            for tag, (trouble, text) in _TROUBLES.items()
            if (self._said(f"fabric/health/{tag}") or "").lower() == trouble
        ]
        configuration = self._said("fabric/health/incorrect_configuration") or "none"
        if not words.is_nothing(configuration) and configuration.lower() not in {"none", "false"}:
            health.append(configuration.lower())
        return nvidia.fabric(
            state,
            self._offered("fabric status", words.lowered, "fabric/status"),
            self._offered("fabric cluster", words.name, "fabric/clusterUuid"),
            self._offered("fabric clique", words.number, "fabric/cliqueId"),
            nvidia.fabric_health(self._read_health_summary(), health),
        )

    def _read_health_summary(self) -> str | None:
        """Return the summary; before there was one, a full bandwidth said the same."""
        summary = self._offered("fabric health", words.lowered, "fabric/health/summary")
        if summary is None and (self._said("fabric/health/bandwidth") or "").lower() == "full":
            return "healthy"
        return summary

    def _read_health(self) -> Health | None:
        return nvidia.told_health(
            Health(
                num_uncorrectable_errors=self._read_errors("ecc_errors/volatile"),
                num_lifetime_uncorrectable_errors=self._read_errors("ecc_errors/aggregate"),
                is_remapping_pending=self._offered(
                    "health", words.answer, "remapped_rows/remapped_row_pending"
                ),
                has_remapping_failed=self._offered(
                    "health", words.answer, "remapped_rows/remapped_row_failure"
                ),
                slowdowns=self._read_slowdowns(),
                recovery_action=self._offered("health", words.lowered, "gpu_recovery_action"),
            )
        )

    def _read_errors(self, counters: str) -> int | None:
        """Add up the uncorrectable errors of all places; None where ECC is off or not there."""
        for places in _ERRORS:
            told = [self._offered("health", words.number, f"{counters}/{tag}") for tag in places]
            known = [number for number in told if number is not None]
            if known:
                return sum(known)
        return None

    def _read_slowdowns(self) -> tuple[str, ...] | None:
        told = {
            name: self._offered("health", words.switch, *_of_clocks(name))
            for name in nvidia.SLOWDOWNS.values()
        }
        if set(told.values()) == {None}:
            return None
        return tuple(name for name, is_active in told.items() if is_active)

    def _read_partitions(self) -> Iterator[PartitionFact]:
        for position, device in enumerate(self._element.findall("mig_devices/mig_device")):
            index = words.number(words.bare(device.findtext("index")))
            size = words.bare(device.findtext("fb_memory_usage/total"))
            shown = position if index is None else index
            yield PartitionFact(
                key=f"mig{shown}",
                subject=self._subject,
                name=f"MIG device {shown}" + (f" ({size})" if words.size(size) else ""),
                partition_kind="mig",
            )

    def _read_c2c(self) -> None:
        if self._offered("c2c", words.switch, "c2c_mode"):
            self._miss("c2c", "It is enabled; neither count nor rate of its links is printed.")

    def _wanted(self, fact: str, kind: Callable[[str], T | None], *paths: str) -> T | None:
        """Read what every GPU should have; its absence is noted."""
        found = self._offered(fact, kind, *paths)
        if found is None and fact not in self._unknown:
            text = self._said(*paths)
            tag = paths[0].rpartition("/")[2]
            self._miss(
                fact,
                f"The recording has no <{tag}>."
                if text is None
                else f"nvidia-smi prints {text!r} as <{tag}>.",
            )
        return found

    def _offered(self, fact: str, kind: Callable[[str], T | None], *paths: str) -> T | None:
        """Read what only some boards or versions have; words in place of a value are noted."""
        text = self._said(*paths)
        if text is None or words.is_nothing(text):
            return None
        found = kind(text)
        if found is None:
            self._miss(fact, f"nvidia-smi prints {text!r} as <{paths[0].rpartition('/')[2]}>.")
        return found

    def _said(self, *paths: str) -> str | None:
        """Return the text of the first path that is there; None if there is none of them."""
        for path in paths:
            text = self._element.findtext(path)
            if text is not None:
                return words.bare(text)
        return None

    def _says_nothing(self, path: str) -> bool:
        text = self._said(path)
        return text is not None and words.is_nothing(text)

    def _miss(self, fact: str, reason: str) -> None:
        self._unknown[fact] = Missing(subject=self._subject, fact=fact, reason=reason)


def _of_clocks(reason: str) -> tuple[str, ...]:
    """Return where it says whether something lowers the clocks, by the new name and the old."""
    return tuple(f"{start}{reason.replace(' ', '_')}" for start in _CLOCKS)


def _identity(text: str) -> str | None:
    return nvidia.identity(words.name(text))


def _one_of(known: tuple[str, ...]) -> Callable[[str], str | None]:
    return lambda text: text.lower() if text.lower() in known else None
