"""`nvidia-smi nvlink -s`, `-R`, `-p`, `-c` and `nvidia-smi -L`: GPUs, their links and far ends.

All of them print a heading per GPU (``GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-…)``) and lines of
links below it; a text may hold several. A GPU's own address is in none of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from topoprobe.machine.addresses import format_cpu_list, normal_address, sort_key
from topoprobe.machine.facts import Facts, GpuFact, PartitionFact, PeerFact
from topoprobe.machine.nvlink import (
    capability_of_model,
    expected_nvlinks,
    nominal_bytes_per_s,
    nvlink_bytes_per_s,
)
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, LinkKind
from topoprobe.units import format_rate

_START = r"^[ \t>|]*"
_GPU = re.compile(rf"{_START}(?:GPU models[^:]*:[ \t]*)?GPU[ \t]+(\d{{1,4}}):[ \t]*(.*)$")
_UUID = re.compile(r"\(UUID:[ \t]*([^)]*)\)?")
_WHOLE_UUID = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LINK = rf"{_START}Link[ \t]+(\d{{1,2}})"
_STATE = re.compile(
    rf"{_LINK}:[ \t]*(?:<?(inactive|active)>?|(\d{{1,4}}(?:\.\d{{1,6}})?)[ \t]*GB/s)"
)
_ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2,4}:[0-9a-f]{2}(?:\.[0-9a-f])?"
_REMOTE = re.compile(
    rf"{_LINK}:[ \t]*(?:Remote Device[ \t]+)?({_ADDRESS})(?::[ \t]*Link[ \t]+(\d{{1,3}}))?",
    re.IGNORECASE,
)
_PEER_ACCESS = re.compile(rf"{_LINK},[ \t]*P2P is supported:[ \t]*(true|false)", re.IGNORECASE)
_MIG = re.compile(rf"{_START}MIG[ \t]+(\S+)[ \t]+Device[ \t]+(\d{{1,3}}):")
_MESSAGE = re.compile(
    r"NVML:.*|.*does not have or support.*|Unable to .*|Not supported", re.IGNORECASE
)
_KNOWN = re.compile(
    rf"{_START}(?:GPU models[^:\n]*:[ \t]*)?GPU[ \t]+\d{{1,4}}:[^\n]*"
    r"(?:\(UUID:[ \t]*GPU-|NVIDIA|Tesla|Quadro|GeForce|TITAN)",
    re.MULTILINE,
)
# A GPU has at most this many links, numbered from 0; a port beyond is one of an NVSwitch.
_MOST_NVLINKS = 18


def matches(text: str) -> bool:
    """Tell whether a text holds such output."""
    return _KNOWN.search(text) is not None


def read(text: str, name: str) -> Facts:
    """Read everything that is printed below the headings of GPUs."""
    gpus: dict[int, _Gpu] = {}
    gpu: _Gpu | None = None
    for line in text.split("\n"):
        heading = _GPU.match(line)
        if heading is not None:
            index = int(heading[1])
            gpu = gpus.setdefault(index, _Gpu(index))
            gpu.read_heading(heading[2])
        elif gpu is not None:
            gpu.read_line(line)
    ordered = [gpus[index] for index in sorted(gpus)]
    return Facts(
        source=f"nvidia-smi-nvlink {name}",
        gpus=_with_distinct_uuids([g.fact() for g in ordered]),
        partitions=tuple(p for g in ordered for p in g.partitions),
        peers=tuple(_peers(ordered)),
        unknown=(*(m for g in ordered for m in g.unknown()), *_unknown_ends(ordered)),
        contradictions=tuple(c for g in ordered for c in g.contradictions()),
    )


class _Gpu:
    """What stands below the headings of one GPU."""

    def __init__(self, index: int) -> None:
        self.subject = f"gpu:{index}"
        self.name: str | None = None
        self.partitions: list[PartitionFact] = []
        self.remotes: dict[int, tuple[str | None, int]] = {}  # address and port, by own link
        self._uuid: str | None = None
        self._is_up: dict[int, bool] = {}
        self._printed: set[float] = set()
        self._no_peers: list[int] = []
        self._message: str | None = None

    def read_heading(self, text: str) -> None:
        uuid = _UUID.search(text)
        name = (text[: uuid.start()] if uuid else text).strip()
        self.name = self.name or name or None
        if uuid is None:
            return
        if _WHOLE_UUID.fullmatch(uuid[1].strip()):
            self._uuid = uuid[1].strip()
        self.read_line(text[uuid.end() :])

    def read_line(self, line: str) -> None:
        if state := _STATE.match(line):
            rate = float(state[3] or 0)
            self._is_up[int(state[1])] = rate > 0 or state[2] == "active"
            self._printed |= {rate} - {0.0}
        elif remote := _REMOTE.match(line):
            address = normal_address(remote[2])
            self.remotes[int(remote[1])] = (address, int(remote[3] or 0))
        elif access := _PEER_ACCESS.match(line):
            if access[2].lower() == "false":
                self._no_peers.append(int(access[1]))
        elif mig := _MIG.match(line):
            self.partitions.append(
                PartitionFact(
                    key=f"mig{mig[2]}",
                    subject=self.subject,
                    name=f"MIG {mig[1]}",
                    partition_kind="mig",
                )
            )
        elif message := _MESSAGE.fullmatch(line.strip()):
            self._message = message[0].rstrip(".")

    def fact(self) -> GpuFact:
        return GpuFact(
            subject=self.subject,
            name=self.name,
            uuid=self._uuid,
            num_nvlinks=self._num_nvlinks(),
            max_nvlinks=len(self._is_up) or None,
            is_mig_enabled=True if self.partitions else None,
        )

    def _num_nvlinks(self) -> int | None:
        if self._is_up:
            return sum(self._is_up.values())
        if self.remotes:
            return len(self.remotes)
        words = (self._message or "").lower()
        return (
            0 if "does not have or support" in words or "all links are inactive" in words else None
        )

    def is_linked(self) -> bool:
        """Tell whether anything is printed of links that are up."""
        return bool(self._num_nvlinks())

    def bytes_per_s(self) -> float | None:
        """Return the nominal rate of a link: what is printed, or else what the product has."""
        if len(self._printed) == 1:
            return nominal_bytes_per_s(next(iter(self._printed)))
        return self._usual_bytes_per_s()

    def _usual_bytes_per_s(self) -> float | None:
        return nvlink_bytes_per_s(capability_of_model(self.name))

    def unknown(self) -> Iterator[Missing]:
        down = [link for link, is_up in self._is_up.items() if not is_up]
        if down:
            reason = f"The driver says these links are down: {_listed(down)}."
            yield Missing(subject=self.subject, fact="inactive nvlinks", reason=reason)
        if self._no_peers:
            reason = f"The driver says these links are not for peers: {_listed(self._no_peers)}."
            yield Missing(subject=self.subject, fact="nvlinks without peers", reason=reason)
        if self._message and not self.is_linked() and "does not have" not in self._message:
            fact = "num_nvlinks" if self._num_nvlinks() is None else "inactive nvlinks"
            yield Missing(
                subject=self.subject, fact=fact, reason=f"The driver says: {self._message}."
            )
        if len(self._printed) > 1:
            printed = ", ".join(f"{rate:g}" for rate in sorted(self._printed))
            reason = f"Its links are printed at different rates: {printed} GB/s."
            yield Missing(subject=self.subject, fact="rate of each nvlink", reason=reason)

    def contradictions(self) -> Iterator[Contradiction]:
        """Compare what is printed with what the product has."""
        usual = self._usual_bytes_per_s()
        for printed in sorted(self._printed):
            found = nominal_bytes_per_s(printed)
            if usual is not None and abs(found / usual - 1) > 0.01:
                yield Contradiction(
                    subject=self.subject,
                    fact="rate of its nvlinks",
                    readings=(f"printed: {printed:g} GB/s", f"{self.name}: {format_rate(usual)}"),
                    meaning="The links do not run at the rate of such a GPU's; what is printed is "
                    "used.",
                )


def _peers(gpus: Sequence[_Gpu]) -> Iterator[PeerFact]:
    ends = {address for gpu in gpus for address, _ in gpu.remotes.values()}
    addresses = sorted((address for address in ends if address is not None), key=sort_key)
    is_switched = None in ends or _are_switches(gpus)
    known = {} if is_switched else _gpus_at(gpus, addresses)
    for gpu in gpus:
        rate = gpu.bytes_per_s()
        for address, count in Counter(address for address, _ in gpu.remotes.values()).items():
            yield PeerFact(
                a=gpu.subject,
                b=known.get(address or "", address),
                b_kind="nvswitch" if is_switched else "gpu",
                kind=LinkKind.NVLINK,
                count=count,
                bandwidth_bytes_per_s=None if rate is None else rate * count,
            )


def _are_switches(gpus: Sequence[_Gpu]) -> bool:
    """Tell NVSwitches from GPUs at the far ends: all GPUs link to them, at ports no GPU has."""
    linked = [gpu for gpu in gpus if gpu.remotes]
    for gpu in linked:
        most = expected_nvlinks(gpu.name, None, None) or _MOST_NVLINKS
        if any(port >= most for _, port in gpu.remotes.values()):
            return True
    ends = [{address for address, _ in gpu.remotes.values()} for gpu in linked]
    return len(linked) > 1 and bool(set.intersection(*ends))


def _gpus_at(gpus: Sequence[_Gpu], addresses: Sequence[str]) -> dict[str, str]:
    """Find which GPU is at which address.

    The driver numbers GPUs in the order of their addresses; if every GPU is somebody's far end,
    that tells all of them. Links must then lead to others and be as many in both directions.
    """
    if len(addresses) != len(gpus):
        return {}
    numbers = {address: place for place, address in enumerate(addresses)}
    counts = Counter(
        (place, numbers[address])
        for place, gpu in enumerate(gpus)
        for address, _ in gpu.remotes.values()
        if address is not None
    )
    is_sound = all(a != b and counts[b, a] == count for (a, b), count in counts.items())
    return {a: gpus[place].subject for a, place in numbers.items()} if is_sound else {}


def _unknown_ends(gpus: Sequence[_Gpu]) -> Iterator[Missing]:
    if any(gpu.is_linked() for gpu in gpus) and not any(gpu.remotes for gpu in gpus):
        reason = "`nvidia-smi nvlink -s` does not tell the far ends; `nvidia-smi nvlink -R` does."
        yield Missing(subject="host", fact="nvlink peers", reason=reason)


def _with_distinct_uuids(gpus: Sequence[GpuFact]) -> tuple[GpuFact, ...]:
    """Leave out identifiers that a person has blanked by writing one for all."""
    told = Counter(gpu.uuid for gpu in gpus)
    return tuple(
        gpu if told[gpu.uuid] == 1 else msgspec.structs.replace(gpu, uuid=None) for gpu in gpus
    )


def _listed(links: Sequence[int]) -> str:
    return format_cpu_list(tuple(sorted(set(links))))
