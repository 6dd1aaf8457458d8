"""Calibrations of the virtual machine and of the server."""

from __future__ import annotations

from topoprobe.records.base import Missing, Verdict
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
    RooflinePoint,
    SlowdownMatrix,
    StorageRate,
    StreamRate,
    SwapLaw,
    SwapRate,
)
from topoprobe.records.machine import (
    LinkKind,
    MachineDocument,
)

from .estimates import MODEL, TOOL, measured, nominal
from .machines import server_machine, vm_machine

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
