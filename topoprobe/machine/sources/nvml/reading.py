"""NVIDIA's management library: the only place that imports it. No driver is a normal case.

Every call is guarded on its own, because drivers, guests and containers each refuse different ones;
a refused call becomes an unknown fact with the library's own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    PartitionFact,
    PciFact,
    PeerFact,
)
from topoprobe.machine.nvlink import nvlink_bytes_per_s
from topoprobe.machine.pcie import capability_of_generation
from topoprobe.records.base import Missing
from topoprobe.records.machine import LinkKind

SOURCE = "nvml"

# Values of the C interface, which bindings of all ages share [nvml].
_INVALID_ARGUMENT, _NOT_SUPPORTED = 2, 3
_REMOTE_GPU, _REMOTE_NPU, _REMOTE_SWITCH = 0, 1, 2
_MAX_NVLINKS = 36
_C2C_COUNT, _C2C_MAX_RATE = 170, 172  # fields; the rate is in MB/s per link
_MAX_CPU_WORDS = 64


class Answer(NamedTuple):
    """What a call gave: a value, or the reason and code why there is none."""

    value: Any
    reason: str | None = None
    code: int | None = None


def load() -> Any | str:
    """Return the library, initialised; or the reason why there is none, in a sentence."""
    try:
        import pynvml
    except ImportError:
        return "The Python package nvidia-ml-py is not installed."
    try:
        pynvml.nvmlInit()
    except Exception as error:
        if type(error).__name__ == "NVMLError_LibraryNotFound":
            return "NVML library not found: there is no NVIDIA driver here."
        return f"NVML does not start: {error}."
    return pynvml


def ask(library: Any, function: str, *arguments: Any) -> Answer:
    """Call one function of the library; a refusal or a missing function is an answer too."""
    try:
        return Answer(getattr(library, function)(*arguments))
    except Exception as error:
        return Answer(None, f"{function} failed: {error}.", getattr(error, "value", None))


def unavailable(reason: str) -> Facts:
    """Return the facts of a library that could not be loaded: none, and why."""
    return Facts(source=SOURCE, unknown=(Missing(subject="host", fact="nvml", reason=reason),))


def read(library: Any) -> Facts:
    """Read all GPUs that the driver shows.

    Parameters
    ----------
    library : module
        What `load` returned, or anything with the same functions.
    """
    count = ask(library, "nvmlDeviceGetCount")
    if count.value is None:
        return unavailable(count.reason or "NVML gives no number of devices.")
    driver = _text(ask(library, "nvmlSystemGetDriverVersion").value)
    readers = []
    unknown: list[Missing] = []
    for index in range(int(count.value)):
        handle = ask(library, "nvmlDeviceGetHandleByIndex", index)
        pci = ask(library, "nvmlDeviceGetPciInfo", handle.value) if handle.value else handle
        address = normal_address(_text(getattr(pci.value, "busId", None)) or "")
        if address is None:
            # A GPU that has fallen off the bus still counts; the ones after it still answer.
            reason = pci.reason or "NVML gives no PCI address for it."
            unknown.append(Missing(subject="host", fact=f"NVML GPU {index}", reason=reason))
            continue
        reader = _GpuReader(library, handle.value, address)
        reader.read(driver)
        readers.append(reader)
    return Facts(
        source=SOURCE,
        functions=tuple(r.function for r in readers),
        gpus=tuple(r.gpu for r in readers),
        partitions=tuple(p for r in readers for p in r.partitions),
        peers=tuple(p for r in readers for p in r.peers),
        unknown=(*unknown, *(m for r in readers for m in r.unknown)),
    )


class _GpuReader:
    """Collects the facts of one GPU."""

    function: PciFact
    gpu: GpuFact

    def __init__(self, library: Any, handle: Any, address: str) -> None:
        self._library = library
        self._handle = handle
        self._address = address
        self.partitions: list[PartitionFact] = []
        self.peers: list[PeerFact] = []
        self.unknown: list[Missing] = []

    def read(self, driver: str | None) -> None:
        """Ask everything."""
        capability = self._wanted("compute_capability", "nvmlDeviceGetCudaComputeCapability")
        compute = f"{capability[0]}.{capability[1]}" if capability else None
        generation = self._asked("nvmlDeviceGetCurrPcieLinkGeneration").value
        width = self._asked("nvmlDeviceGetCurrPcieLinkWidth").value
        self.function = PciFact(
            address=self._address,
            kind="gpu",
            current=capability_of_generation(generation, width or None),
            cpus=self._cpus(),
        )
        memory = self._wanted("memory_bytes", "nvmlDeviceGetMemoryInfo")
        bar1 = self._wanted("bar1_bytes", "nvmlDeviceGetBAR1MemoryInfo")
        self.gpu = GpuFact(
            subject=self._address,
            name=_text(self._wanted("name", "nvmlDeviceGetName")),
            uuid=_text(self._wanted("uuid", "nvmlDeviceGetUUID")),
            memory_bytes=int(memory.total) if memory else None,
            bar1_bytes=int(bar1.bar1Total) if bar1 else None,
            compute_capability=compute,
            driver=f"nvidia {driver}" if driver else None,
            num_nvlinks=self._read_nvlinks(compute),
            is_mig_enabled=self._read_partitions(),
        )
        self._read_c2c()

    def _asked(self, function: str, *arguments: Any) -> Answer:
        return ask(self._library, function, self._handle, *arguments)

    def _wanted(self, fact: str, function: str) -> Any:
        """Ask for a fact that every GPU should have; a refusal is noted."""
        answer = self._asked(function)
        if answer.reason is not None:
            self._miss(fact, answer.reason)
        return answer.value

    def _miss(self, fact: str, reason: str) -> None:
        self.unknown.append(Missing(subject=self._address, fact=fact, reason=reason))

    def _cpus(self) -> tuple[int, ...]:
        words = self._asked("nvmlDeviceGetCpuAffinity", _MAX_CPU_WORDS).value
        return tuple(
            64 * i + bit
            for i, word in enumerate(words or ())
            for bit in range(64)
            if int(word) >> bit & 1
        )

    def _read_nvlinks(self, compute: str | None) -> int | None:
        """Count the links that are up and note their far ends; None where no link would answer."""
        per_link = nvlink_bytes_per_s(compute)
        counts: dict[PeerFact, int] = {}
        inactive: list[int] = []
        num_answers = 0
        for link in range(_MAX_NVLINKS):
            state = self._asked("nvmlDeviceGetNvLinkState", link)
            if state.code == _INVALID_ARGUMENT:
                break
            if state.code == _NOT_SUPPORTED:
                num_answers += 1  # the board has no such link, which is an answer
                continue
            if state.reason is not None:
                self._miss(f"nvlink {link}", state.reason)
                continue
            num_answers += 1
            if not state.value:
                inactive.append(link)
                continue
            end = self._far_end(link)
            counts[end] = counts.get(end, 0) + 1
        for end, count in counts.items():
            self.peers.append(
                PeerFact(
                    a=end.a,
                    b=end.b,
                    b_kind=end.b_kind,
                    kind=end.kind,
                    count=count,
                    bandwidth_bytes_per_s=per_link and per_link * count,
                )
            )
        if inactive:
            listed = ", ".join(str(link) for link in inactive)
            self._miss("inactive nvlinks", f"The driver says these links are down: {listed}.")
        return sum(counts.values()) if num_answers else None

    def _far_end(self, link: int) -> PeerFact:
        """Ask what is at the other end: first its type, because hidden switches have no address."""
        kind = self._asked("nvmlDeviceGetNvLinkRemoteDeviceType", link).value
        pci = self._asked("nvmlDeviceGetNvLinkRemotePciInfo", link).value
        address = normal_address(_text(getattr(pci, "busId", None)) or "")
        if kind == _REMOTE_NPU:
            return PeerFact(a=self._address, b_kind="cpu", kind=LinkKind.NVLINK)
        is_switch = kind == _REMOTE_SWITCH or (kind != _REMOTE_GPU and address is None)
        if kind == _REMOTE_GPU and address is None:
            self._miss(f"nvlink {link} peer", "The driver says it is a GPU but not which.")
        return PeerFact(
            a=self._address,
            b=address,
            b_kind="nvswitch" if is_switch or address is None else "gpu",
            kind=LinkKind.NVLINK,
        )

    def _read_c2c(self) -> None:
        """Read the coherent links to the CPU, which only coherent boards have."""
        answer = self._asked("nvmlDeviceGetFieldValues", [_C2C_COUNT, _C2C_MAX_RATE])
        values = [int(field.value.uiVal) for field in answer.value or () if field.nvmlReturn == 0]
        if len(values) == 2 and all(values):
            count, megabytes = values
            self.peers.append(
                PeerFact(
                    a=self._address,
                    b_kind="cpu",
                    kind=LinkKind.C2C,
                    count=count,
                    bandwidth_bytes_per_s=count * megabytes * 1e6,
                )
            )

    def _read_partitions(self) -> bool | None:
        """List MIG devices; a board that cannot be split is not split."""
        mode = self._asked("nvmlDeviceGetMigMode")
        if mode.value is None:
            return False if mode.code == _NOT_SUPPORTED else None
        if not mode.value[0]:
            return False
        self.partitions.extend(self._mig_devices())
        return True

    def _mig_devices(self) -> Iterator[PartitionFact]:
        for index in range(int(self._asked("nvmlDeviceGetMaxMigDeviceCount").value or 0)):
            device = self._asked("nvmlDeviceGetMigDeviceHandleByIndex", index).value
            if device is None:
                continue  # most slots are empty
            name = _text(ask(self._library, "nvmlDeviceGetName", device).value)
            yield PartitionFact(
                key=f"mig{index}",
                subject=self._address,
                name=name or f"MIG device {index}",
                partition_kind="mig",
            )


def _text(value: object) -> str | None:
    """Return a string that older bindings give as bytes."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.rstrip("\0") if isinstance(value, str) else None
