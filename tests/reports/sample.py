"""Documents built in code, from an empty machine to a full server, for the tests of the report.

The numbers are invented and only plausible; every name says so where a reader could be misled.
"""

from __future__ import annotations

import math
import random

from topoprobe.records.base import Estimate, Missing, Source, Status, Tool, Verdict
from topoprobe.records.calibration import (
    CalibrationDocument,
    Coefficient,
    ComputeRate,
    Contention,
    DeviceCalibration,
    FeatureRange,
    FlowSetShare,
    FlowShare,
    LinkCalibration,
    LoadedLatencyPoint,
    ModelCost,
    ModelShape,
    RooflinePoint,
    SlowdownMatrix,
    StorageRate,
    StreamRate,
    SwapLaw,
    SwapRate,
)
from topoprobe.records.machine import (
    AnyNode,
    Cache,
    Capability,
    Contradiction,
    Gpu,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    NicPort,
    Numa,
    Nvme,
    NvSwitch,
    Other,
    Package,
    Partition,
    PcieSwitch,
)
from topoprobe.records.results import (
    Conditions,
    Environment,
    Experiment,
    ResultsDocument,
    Sample,
    Series,
)
from topoprobe.records.run import (
    Comparison,
    Distribution,
    PolicyChoice,
    RequestTimes,
    RunDocument,
    StepTimes,
    Summary,
    Workload,
)

TOOL = Tool(tool_version="0.1.0", revision="abc1234")
GEN4_X8 = Capability(bandwidth_bytes_per_s=15.75e9, transfers_per_s=16e9, num_lanes=8)
GEN4_X4 = Capability(bandwidth_bytes_per_s=7.88e9, transfers_per_s=16e9, num_lanes=4)
GEN4_X16 = Capability(bandwidth_bytes_per_s=31.5e9, transfers_per_s=16e9, num_lanes=16)
GEN5_X16 = Capability(bandwidth_bytes_per_s=63.0e9, transfers_per_s=32e9, num_lanes=16)
GEN1_X16 = Capability(bandwidth_bytes_per_s=4.0e9, transfers_per_s=2.5e9, num_lanes=16)
NVLINK4 = Capability(bandwidth_bytes_per_s=25e9)
MODEL = ModelShape(
    name="tiny-llama",
    num_layers=4,
    hidden_size=256,
    intermediate_size=688,
    num_heads=8,
    num_kv_heads=4,
    head_dim=32,
    vocab_size=4096,
    dtype="fp32",
    dtype_bytes=4,
)


def measured(value: float, spread_ratio: float = 0.015, evidence: str = "sample") -> Estimate:
    """Return a measured estimate whose interval is symmetric."""
    half = value * spread_ratio
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        source=Source.MEASURED,
        n=12,
        evidence=evidence,
    )


def nominal(value: float, evidence: str = "data sheet") -> Estimate:
    """Return a nominal estimate."""
    return Estimate(
        value=value, low=value, high=value, source=Source.NOMINAL, n=0, evidence=evidence
    )


def empty_machine() -> MachineDocument:
    """Return a host without anything in it."""
    return MachineDocument(
        tool=TOOL, origin="live", sources=("sysfs",), nodes=(Host(id="host", name="empty"),)
    )


def vm_machine(name: str = "build-vm") -> MachineDocument:
    """Return a virtual machine: flat PCI, no capabilities, NUMA nodes of devices unknown."""
    nodes: list[AnyNode] = [
        Host(
            id="host",
            name=name,
            operating_system="Debian GNU/Linux 12",
            is_virtual=True,
            virtualization="kvm",
            product="Standard PC (Q35)",
        ),
        Package(
            id="package:0",
            name="Intel(R) Xeon(R) Platinum 8488C",
            parent="host",
            os_index=0,
            num_cores=2,
            num_threads=2,
            cpus=(0, 1),
            base_clock_hz=2.4e9,
            instruction_sets=("avx2", "avx512f", "amx_tile"),
            caches=(
                Cache(level=1, type="data", size_bytes=48 << 10, num_instances=2),
                Cache(level=1, type="instruction", size_bytes=32 << 10, num_instances=2),
                Cache(level=2, type="unified", size_bytes=2 << 20, num_instances=2),
                Cache(level=3, type="unified", size_bytes=480 << 20, num_instances=1),
            ),
        ),
        Numa(
            id="numa:0",
            name="NUMA node 0",
            parent="package:0",
            os_index=0,
            memory_bytes=24 << 30,
            cpus=(0, 1),
            distances=(10,),
        ),
        HostBridge(id="pci0000:00", name="root complex", parent="host", pci_address="0000:00"),
        Nic(
            id="0000:00:03.0",
            name="Virtio network device",
            parent="pci0000:00",
            pci_address="0000:00:03.0",
            ports=(NicPort(name="eth0", net_interface="eth0"),),
        ),
        Nvme(
            id="0000:00:04.0",
            name="Virtio block device",
            parent="pci0000:00",
            pci_address="0000:00:04.0",
            block_devices=("vda",),
            size_bytes=64 << 30,
        ),
    ]
    nodes += [
        Other(
            id=f"0000:00:{slot:02x}.0",
            name=f"Virtio function {slot}",
            parent="pci0000:00",
            pci_address=f"0000:00:{slot:02x}.0",
        )
        for slot in (0, 1, 2, 5, 6)
    ]
    unknown = tuple(
        Missing(subject=node.id, fact=fact, reason=reason)
        for node in nodes[4:]
        for fact, reason in (
            ("link width and speed", "the function has no PCI Express capability"),
            ("NUMA node", "the kernel reports -1"),
        )
    )
    return MachineDocument(
        tool=TOOL,
        origin="live",
        sources=("sysfs",),
        captured_at="2026-11-20T17:40:00+00:00",
        nodes=tuple(nodes),
        unknown=unknown,
    )


def server_machine(
    num_gpus: int = 8,
    *,
    gpus_per_switch: int = 2,
    num_sockets: int = 2,
    fabric: str = "switch",
    name: str = "node gpu-a17",
) -> MachineDocument:
    """Return a GPU server: sockets, root complexes, switches, NICs and NVMe drives.

    `fabric` is ``switch`` (NVSwitches), ``mesh`` (every GPU with its neighbours) or ``none``.
    """
    nodes: list[AnyNode] = [Host(id="host", name=name, operating_system="Ubuntu 24.04 LTS")]
    links: list[Link] = []
    for socket in range(num_sockets):
        nodes.append(
            Package(
                id=f"package:{socket}",
                name="Xeon Platinum 8480C",
                parent="host",
                os_index=socket,
                num_cores=56,
                num_threads=112,
                base_clock_hz=2.0e9,
                caches=(
                    Cache(level=3, type="unified", size_bytes=105 << 20, num_instances=1),
                    Cache(level=2, type="unified", size_bytes=2 << 20, num_instances=56),
                    Cache(level=1, type="data", size_bytes=48 << 10, num_instances=56),
                ),
            )
        )
        nodes.append(
            Numa(
                id=f"numa:{socket}",
                name=f"NUMA node {socket}",
                parent=f"package:{socket}",
                os_index=socket,
                memory_bytes=1 << 40,
                distances=tuple(10 if other == socket else 21 for other in range(num_sockets)),
            )
        )
    links += [
        Link(
            id=f"upi:{a}-{b}",
            kind=LinkKind.INTER_SOCKET,
            a=f"package:{a}",
            b=f"package:{b}",
            wire=f"upi:{a}-{b}",
            count=3,
        )
        for a in range(num_sockets)
        for b in range(a + 1, num_sockets)
    ]
    num_switches = math.ceil(num_gpus / gpus_per_switch)
    for index in range(num_switches):
        socket = index * num_sockets // num_switches
        _add_switch(
            nodes,
            links,
            index,
            socket,
            range(index * gpus_per_switch, min((index + 1) * gpus_per_switch, num_gpus)),
        )
    _add_fabric(nodes, links, fabric, num_gpus)
    return MachineDocument(
        tool=TOOL,
        origin="synthetic",
        sources=("tests/reports/sample.py",),
        nodes=tuple(nodes),
        links=tuple(links),
        contradictions=(
            Contradiction(
                subject="gpu:1",
                fact="NUMA node",
                readings=("sysfs says 0", "NVML says 1"),
                meaning="one of them is wrong; placement by NUMA node is unsafe for this GPU.",
            ),
        ),
    )


def _add_switch(
    nodes: list[AnyNode], links: list[Link], index: int, socket: int, gpus: range
) -> None:
    bus = f"0000:{0x15 + 0x20 * index:02x}" if index < 7 else f"0001:{0x15 + 8 * index:02x}"
    root, switch = f"root:{index}", f"switch:{index}"
    nodes.append(HostBridge(id=root, name="root complex", parent=f"numa:{socket}", pci_address=bus))
    nodes.append(PcieSwitch(id=switch, name="PEX890xx", parent=root, pci_address=f"{bus}:00.0"))
    links.append(_pcie(root, switch, GEN5_X16))
    for gpu in gpus:
        nodes.append(
            Gpu(
                id=f"gpu:{gpu}",
                name="NVIDIA H100 80GB HBM3",
                parent=root,
                index=gpu,
                pci_address=f"0000:{0x18 + gpu:02x}:00.0",
                memory_bytes=80 << 30,
                numa_index=socket,
                driver="570.86",
            )
        )
        links.append(_pcie(switch, f"gpu:{gpu}", GEN5_X16, GEN1_X16))
        nodes.append(
            Nic(
                id=f"nic:{gpu}",
                name="ConnectX-7",
                parent=root,
                pci_address=f"0000:{0x60 + gpu:02x}:00.0",
                ports=(
                    NicPort(name=f"mlx5_{gpu}", verbs_device=f"mlx5_{gpu}", rate_bits_per_s=400e9),
                ),
            )
        )
        narrow = gpu == 3
        links.append(_pcie(switch, f"nic:{gpu}", GEN4_X16, GEN4_X8 if narrow else GEN4_X16))
    nodes.append(
        Nvme(
            id=f"nvme:{index}",
            name=f"nvme{index}n1",
            model="PM9A3",
            parent=switch,
            block_devices=(f"nvme{index}n1",),
            size_bytes=3_840_755_982_336,
        )
    )
    links.append(_pcie(switch, f"nvme:{index}", GEN4_X4))
    nodes.append(
        Partition(
            id=f"nic:{gpus[0]}.vf",
            name="virtual function",
            parent=f"nic:{gpus[0]}",
            partition_kind="virtual_function",
        )
    )


def _pcie(a: str, b: str, nominal: Capability, current: Capability | None = None) -> Link:
    return Link(
        id=f"{a}-{b}",
        kind=LinkKind.PCIE,
        a=a,
        b=b,
        wire=f"{a}-{b}",
        nominal=nominal,
        current=current or nominal,
    )


def _add_fabric(nodes: list[AnyNode], links: list[Link], fabric: str, num_gpus: int) -> None:
    if fabric == "switch":
        nodes += [
            NvSwitch(id=f"nvswitch:{one}", name="NVSwitch", parent="host") for one in range(4)
        ]
        links += [
            Link(
                id=f"nvlink:{gpu}-{one}",
                kind=LinkKind.NVLINK,
                a=f"gpu:{gpu}",
                b=f"nvswitch:{one}",
                wire=f"nvlink:{gpu}-{one}",
                count=count,
                nominal=NVLINK4,
            )
            for gpu in range(num_gpus)
            for one, count in enumerate((5, 4, 4, 5))
        ]
    elif fabric == "mesh":
        links += [
            Link(
                id=f"nvlink:{a}-{b}",
                kind=LinkKind.NVLINK,
                a=f"gpu:{a}",
                b=f"gpu:{b}",
                wire=f"nvlink:{a}-{b}",
                count=1 + (a + b) % 2,
                nominal=NVLINK4,
            )
            for a in range(num_gpus)
            for b in range(a + 1, num_gpus)
            if a // 4 == b // 4 or a + 4 == b
        ]


CPU_FLOWS = ("stream", "chase", "gemm", "memcpy")


def vm_calibration(machine: MachineDocument | None = None) -> CalibrationDocument:
    """Return the calibration of the virtual machine, with everything that a section can show."""
    machine = machine or vm_machine()
    return CalibrationDocument(
        tool=TOOL,
        machine=machine,
        created_at="2026-11-20T17:44:00+00:00",
        devices=(_cpu_device(),),
        contention=(_cpu_contention(),),
        models=(_model_cost(),),
        missing=(
            Missing(
                subject="devices", fact="power", reason="the suite has no power experiment yet"
            ),
        ),
        verdicts=(
            Verdict(
                level="WARN",
                check="quiet machine",
                subject="host",
                evidence="other processes took more than 3 % of the CPUs during 12 of 96 samples, "
                "22 % at most",
                fix="Stop other work on the machine and run `topoprobe bench` again.",
            ),
        ),
    )


def _cpu_device() -> DeviceCalibration:
    stream = {
        ("copy", 1): 11.2e9,
        ("copy", 2): 19.8e9,
        ("scale", 1): 10.9e9,
        ("scale", 2): 19.1e9,
        ("add", 1): 11.6e9,
        ("add", 2): 20.3e9,
        ("triad", 1): 11.7e9,
        ("triad", 2): 20.6e9,
    }
    compute = {
        ("fp32", "fma", 1): 168e9,
        ("fp32", "fma", 2): 297e9,
        ("fp64", "fma", 1): 84e9,
        ("fp64", "fma", 2): 149e9,
        ("fp32", "gemm", 2): 251e9,
        ("fp64", "gemm", 2): 121e9,
    }
    swap = [
        SwapRate(
            direction=direction,
            layout=layout,
            load=load,
            block_bytes=size,
            rate_bytes_per_s=measured(
                9.4e9
                * (0.55 if layout == "scattered" and size < 65536 else 0.93)
                * (0.72 if load != "idle" else 1)
                * (0.9 if direction == "in" else 1)
                * size
                / (size + 9000),
                0.03,
            ),
        )
        for direction in ("out", "in")
        for layout in ("contiguous", "scattered")
        for load in ("idle", "beside_compute")
        for size in (16 << 10, 64 << 10, 256 << 10, 1 << 20)
    ]
    return DeviceCalibration(
        device="host",
        kind="cpu",
        name="Intel(R) Xeon(R) Platinum 8488C",
        memory_bytes=nominal(float(24 << 30), "reported by the kernel"),
        memory_bandwidth_bytes_per_s=measured(20.6e9, evidence="stream.triad threads=2"),
        memory_latency_s=measured(121e-9, 0.02, "latency.idle ring_bytes=268435456"),
        stream=tuple(
            StreamRate(
                kernel=kernel,
                num_threads=threads,
                variant="numba",  # type: ignore[arg-type]
                rate_bytes_per_s=measured(rate),
            )
            for (kernel, threads), rate in stream.items()
        ),
        compute=tuple(
            ComputeRate(
                dtype=dtype,
                method=method,
                num_threads=threads,
                variant="torch",  # type: ignore[arg-type]
                rate_flop_per_s=measured(rate),
            )
            for (dtype, method, threads), rate in compute.items()
        ),
        roofline=tuple(
            RooflinePoint(
                dtype=dtype,
                intensity_flop_per_byte=intensity,
                num_threads=2,
                rate_flop_per_s=measured(min(peak * 0.96, intensity * 19.9e9), 0.03),
            )
            for dtype, peak in (("fp32", 290e9), ("fp64", 146e9))
            for intensity in (0.0625, 0.25, 1.0, 4.0, 16.0, 64.0)
        ),
        host_swap=tuple(swap),
        swap_laws=tuple(
            SwapLaw(
                direction=direction,
                layout=layout,
                latency_s=measured(0.9e-6, 0.1),  # type: ignore[arg-type]
                bandwidth_bytes_per_s=measured(9.1e9),
                max_error_ratio=0.043,
            )
            for direction in ("out", "in")
            for layout in ("contiguous", "scattered")
        ),
        storage=tuple(
            StorageRate(
                name="vda",
                operation=operation,
                is_direct=True,
                block_bytes=size,  # type: ignore[arg-type]
                rate_bytes_per_s=measured(rate, 0.08),
            )
            for operation, size, rate in (
                ("read", 65536, 0.42e9),
                ("read", 1 << 20, 1.31e9),
                ("write", 1 << 20, 0.61e9),
            )
        ),
    )


def _cpu_contention() -> Contention:
    slowdown = (
        (1.91, 1.08, 1.02, 1.62),
        (3.35, 1.01, 1.05, 2.71),
        (1.12, 1.03, 1.04, 1.09),
        (1.74, 1.06, 1.03, 1.55),
    )
    flows = tuple(
        f"host:0 -> core:{index % 2} via cpu, work={work}" for index, work in enumerate(CPU_FLOWS)
    )
    solo = (11.7e9, 8.3e6, 121e9, 5.6e9)
    kept = (0.44, 0.31, 0.52, 0.47)
    foretold = (2.1, 3.4, 1.9, 2.5)
    shares = tuple(
        FlowShare(
            flow=flow,
            solo_per_s=measured(rate),
            shared_per_s=measured(rate * share, 0.04),
            slowdown_ratio=measured(1 / share, 0.04),
            predicted_slowdown_ratio=predicted,
        )
        for flow, rate, share, predicted in zip(flows, solo, kept, foretold, strict=True)
    )
    pair = FlowSetShare(flows=shares[:2], jain_ratio=measured(0.97), max_min_ratio=measured(1.4))
    return Contention(
        resource="memory:host",
        capacity_bytes_per_s=measured(20.6e9),
        loaded_latency=tuple(
            LoadedLatencyPoint(
                load_bytes_per_s=measured(load * 1e9, 0.03),
                latency_s=measured(121e-9 * (1 + (load / 17) ** 4 * 2.2), 0.04),
            )
            for load in (0.0, 3.1, 6.4, 9.2, 12.1, 14.8, 16.4, 17.2)
        ),
        slowdown=SlowdownMatrix(
            flows=CPU_FLOWS,
            slowdown_victim_aggressor=tuple(
                tuple(
                    None if (row, column) == (2, 2) else measured(value, 0.03)
                    for column, value in enumerate(line)
                )
                for row, line in enumerate(slowdown)
            ),
        ),
        sets=(
            pair,
            FlowSetShare(
                flows=shares, jain_ratio=measured(0.964, 0.01), max_min_ratio=measured(1.68, 0.05)
            ),
        ),
    )


def _model_cost() -> ModelCost:
    coefficients = (
        ("fixed", "s", 0.84e-3),
        ("per_sequence", "s", 21e-6),
        ("per_token", "s", 48e-6),
        ("per_pair", "s", 3.1e-9),
        ("stream", "s", 0.61e-3),
        ("per_context", "s", 0.42e-6),
    )
    return ModelCost(
        model=MODEL,
        devices=("host",),
        coefficients=tuple(
            Coefficient(feature=feature, unit=unit, estimate=measured(value, 0.06, "24 fit shapes"))
            for feature, unit, value in coefficients
        ),
        num_fit_shapes=24,
        num_validation_shapes=8,
        mean_error_ratio=0.038,
        max_error_ratio=0.091,
        ranges=(
            FeatureRange(feature="per_token", low=1, high=512),
            FeatureRange(feature="per_context", low=0, high=8192),
        ),
    )


def server_calibration(num_gpus: int = 8) -> CalibrationDocument:
    """Return the calibration of a GPU server: links, GPUs, host copies that share switches."""
    machine = server_machine(num_gpus)
    host = DeviceCalibration(
        device="host",
        kind="cpu",
        name="2 x Xeon Platinum 8480C",
        memory_bandwidth_bytes_per_s=measured(462e9),
        memory_latency_s=measured(98e-9),
        stream=tuple(
            StreamRate(
                kernel=kernel,
                num_threads=threads,
                variant="numba",  # type: ignore[arg-type]
                rate_bytes_per_s=measured(min(14e9 * threads, 462e9)),
            )
            for kernel in ("copy", "triad")
            for threads in range(1, 113)
        ),
    )
    gpus = tuple(_gpu_device(gpu) for gpu in range(num_gpus))
    names = tuple(f"host:{gpu // 4} -> gpu:{gpu} via ce" for gpu in range(num_gpus))
    matrix = tuple(
        tuple(
            None
            if a == b
            else measured(1.94 if a // 2 == b // 2 else 1.22 if a // 4 == b // 4 else 1.03)
            for b in range(num_gpus)
        )
        for a in range(num_gpus)
    )
    shares = tuple(
        FlowShare(
            flow=flow,
            solo_per_s=measured(54.6e9),
            shared_per_s=measured(27.3e9),
            slowdown_ratio=measured(2.0),
        )
        for flow in names
    )
    return CalibrationDocument(
        tool=TOOL,
        machine=machine,
        created_at="2026-11-20T17:44:00+00:00",
        devices=(host, *gpus),
        links=tuple(
            LinkCalibration(
                link=link.id,
                a_to_b_bytes_per_s=measured(27.1e9 if link.b == "gpu:5" else 54.6e9),
                b_to_a_bytes_per_s=measured(52.0e9) if link.b.startswith("gpu") else None,
            )
            for link in machine.links
            if link.kind is LinkKind.PCIE and link.b.startswith(("gpu", "switch"))
        ),
        contention=(
            Contention(
                resource="PCIe",
                capacity_bytes_per_s=measured(54.6e9),
                slowdown=SlowdownMatrix(flows=names, slowdown_victim_aggressor=matrix),
                sets=(
                    FlowSetShare(
                        flows=shares, jain_ratio=measured(0.99), max_min_ratio=measured(1.1)
                    ),
                ),
            ),
        ),
        missing=(
            Missing(subject="swap.out", fact="host_swap", reason="no pinned memory was allowed"),
        ),
    )


def _gpu_device(index: int) -> DeviceCalibration:
    peaks = {"bf16": 790e12, "fp16": 781e12, "fp32": 51e12, "fp64": 59e12}
    rate = 3.02e12 - 4e9 * index
    return DeviceCalibration(
        device=f"gpu:{index}",
        kind="gpu",
        name="NVIDIA H100 80GB HBM3",
        memory_bytes=nominal(float(80 << 30)),
        memory_bandwidth_bytes_per_s=measured(rate, 0.004),
        launch_overhead_s=measured(3.4e-6),
        stream=(
            StreamRate(
                kernel="triad",
                num_threads=None,
                variant="cuda",
                rate_bytes_per_s=measured(rate, 0.004),
            ),
        ),
        compute=tuple(
            ComputeRate(
                dtype=dtype,
                method="gemm",
                num_threads=None,
                variant="cublas",
                rate_flop_per_s=measured(peak) if dtype != "fp64" else nominal(peak),
            )
            for dtype, peak in peaks.items()
        ),
    )


def vm_results(machine: MachineDocument | None = None) -> ResultsDocument:
    """Return results with every status."""
    experiments = (
        Experiment(
            benchmark="cpu.stream",
            revision=1,
            summary="Measure sustained memory rates.",
            status=Status.OK,
            elapsed_s=21.4,
            series=tuple(
                _series(f"stream.{kernel}", "bytes_per_s", 19.8e9, {"threads": 2, "variant": v})
                for kernel in ("copy", "triad")
                for v in ("numpy", "numba")
            ),
        ),
        Experiment(
            benchmark="cpu.contention",
            revision=2,
            summary="Run flows together.",
            status=Status.UNSTABLE,
            reason="2 of 10 series never settled",
            elapsed_s=31.0,
            series=(
                _series("contention.solo", "per_s", 8.3e6, {"flow": "chase"}),
                _series(
                    "contention.shared",
                    "per_s",
                    2.6e6,
                    {"flow": "chase"},
                    Status.UNSTABLE,
                    "its median is known to ±6.1% only, not to ±2%",
                ),
            ),
        ),
        Experiment(
            benchmark="cuda.triad",
            revision=1,
            summary="Measure GPU memory rates.",
            status=Status.SKIPPED,
            reason="this machine has no NVIDIA driver",
            series=(),
        ),
        Experiment(
            benchmark="disk",
            revision=1,
            summary="Read and write a scratch file.",
            status=Status.FAILED,
            reason="no space left on the device",
            elapsed_s=0.2,
        ),
    )
    return ResultsDocument(
        tool=TOOL,
        machine=machine or vm_machine(),
        environment=Environment(
            kernel="6.1.0-31-amd64",
            python="3.11.2",
            affinity_cpus=(0, 1),
            governor="performance",
            transparent_huge_pages="madvise",
            packages={"numpy": "2.3.1", "torch": "2.13.0"},
        ),
        suite="quick",
        started_at="2026-11-20T17:40:05+00:00",
        experiments=experiments,
    )


def _series(
    name: str,
    unit: str,
    value: float,
    factors: dict[str, str | int | float],
    status: Status = Status.OK,
    reason: str | None = None,
) -> Series:
    noise = random.Random(f"{name} {factors}")
    return Series(
        name=name,
        unit=unit,
        factors={"device": "host", **factors},
        is_better_higher=True,
        status=status,
        reason=reason,
        samples=tuple(
            Sample(
                value=value * (0.8 if index == 0 else noise.gauss(1, 0.012)),
                started_s=index * 0.4,
                duration_s=0.4,
                is_warmup=index < 2,
                conditions=Conditions(other_cpu_ratio=0.01, steal_ratio=noise.random() * 0.05),
            )
            for index in range(14)
        ),
    )


def vm_run(num_requests: int = 24) -> RunDocument:
    """Return a real run with its prediction."""
    noise = random.Random(7)
    requests, steps = [], []
    for index in range(num_requests):
        arrived = index * 0.11
        scheduled = arrived + noise.random() * 0.05
        first = scheduled + 0.06 + noise.random() * 0.05
        tokens = 12 + noise.randrange(40)
        requests.append(
            RequestTimes(
                request_id=index,
                status="finished",
                num_prompt_tokens=64 + index,
                num_output_tokens=tokens,
                arrived_s=arrived,
                first_scheduled_s=scheduled,
                first_token_s=first,
                finished_s=first + tokens * (0.017 + noise.random() * 0.004),
            )
        )
    at = 0.02
    for segment in range(160):
        size = 1 + int(6 + 5 * math.sin(segment / 20)) % 12
        has_prefill = segment % 7 == 0
        took = 0.02 + 0.012 * has_prefill
        steps.append(
            StepTimes(
                worker_id=0,
                segment_id=segment,
                started_s=at,
                ended_s=at + took,
                num_steps=1,
                num_sequences=size,
                num_tokens=size + 96 * has_prefill,
                num_context_tokens=size * 90,
            )
        )
        at += took
    summary = _summary(312.4, 0.142, 0.0188)
    return RunDocument(
        tool=TOOL,
        kind="real",
        started_at="2026-11-20T17:43:20+00:00",
        calibration="calibration.json",
        model=MODEL,
        devices=("host",),
        workload=Workload(name="closed loop", num_requests=num_requests, seed=1, max_concurrency=8),
        policies=(
            PolicyChoice(axis="batching", name="chunked"),
            PolicyChoice(axis="order", name="fcfs"),
        ),
        num_blocks=512,
        block_size=16,
        summary=summary,
        repeats=(summary, _summary(305.1, 0.147, 0.0193), _summary(318.0, 0.139, 0.0185)),
        predicted=_summary(324.9, 0.131, 0.0181),
        comparisons=(
            Comparison(
                metric="output_throughput_tokens_per_s",
                unit="tokens_per_s",
                predicted=324.9,
                measured=(312.4, 305.1, 318.0),
                error_ratio=0.04,
                spread_ratio=0.041,
                is_within=True,
            ),
            Comparison(
                metric="mean_ttft_s",
                unit="s",
                predicted=0.131,
                measured=(0.142, 0.147, 0.139),
                error_ratio=-0.077,
                spread_ratio=0.056,
                is_within=True,
            ),
            Comparison(
                metric="mean_tpot_s",
                unit="s",
                predicted=0.0181,
                measured=(0.0188, 0.0193, 0.0185),
                error_ratio=-0.037,
                spread_ratio=0.043,
                is_within=True,
            ),
        ),
        requests=tuple(requests),
        steps=tuple(steps),
    )


def _summary(throughput: float, ttft_s: float, tpot_s: float) -> Summary:
    def around(mean: float) -> Distribution:
        return Distribution(
            mean=mean, p50=mean * 0.96, p90=mean * 1.3, p99=mean * 1.6, max=mean * 1.7
        )

    return Summary(
        duration_s=3.6,
        num_requests=24,
        num_finished=24,
        num_prompt_tokens=1812,
        num_output_tokens=780,
        num_steps=160,
        num_preemptions=0,
        request_throughput_per_s=6.7,
        output_throughput_tokens_per_s=throughput,
        total_throughput_tokens_per_s=throughput * 3.1,
        ttft_s=around(ttft_s),
        tpot_s=around(tpot_s),
        e2e_s=around(ttft_s + 30 * tpot_s),
    )
