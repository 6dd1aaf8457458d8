"""Calibrations of the built-in machines: nominal, but for operators that others timed.

They let everything after calibration be tried without owning the machine. Every estimate says
that it is nominal, or whose measurement it is derived from.
"""

from __future__ import annotations

from topoprobe import __version__
from topoprobe.machine import synthetic
from topoprobe.machine.building import build
from topoprobe.model.catalogue.devices import (
    Figure,
    NominalDevice,
    find_by_driver_name,
    find_nominal_device,
)
from topoprobe.model.catalogue.operator_constants import OPERATOR_FITS
from topoprobe.model.catalogue.operator_fits import OperatorFit
from topoprobe.model.operators.roofline import UNITS
from topoprobe.records.base import Estimate, Missing, Source, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    Coefficient,
    ComputeRate,
    DeviceCalibration,
    FeatureRange,
    LinkCalibration,
    OperatorCost,
)
from topoprobe.records.machine import Gpu, Link, MachineDocument

BUILTIN_NAMES: tuple[str, ...] = synthetic.NAMES
"""Machines that have a calibration without being measured."""


def builtin_calibration(name: str) -> CalibrationDocument | None:
    """Return the calibration of a built-in machine; None if there is no machine of that name."""
    facts = synthetic.machine_facts(name) if name in BUILTIN_NAMES else None
    if facts is None:
        return None
    tool = Tool(tool_version=__version__)
    machine = build([facts], origin="synthetic", tool=tool)
    gpus = [node for node in machine.nodes if isinstance(node, Gpu)]
    return CalibrationDocument(
        tool=tool,
        machine=machine,
        devices=nominal_devices(machine),
        operators=tuple(_operator(fit, gpus) for fit in OPERATOR_FITS if _devices(fit, gpus)),
        links=nominal_links(machine),
        missing=_missing(machine, gpus),
    )


def nominal_devices(machine: MachineDocument) -> tuple[DeviceCalibration, ...]:
    """Return what the data sheets say of a machine's GPUs."""
    return tuple(_device(node) for node in machine.nodes if isinstance(node, Gpu))


def nominal_links(machine: MachineDocument) -> tuple[LinkCalibration, ...]:
    """Return what the links of a machine carry whose rate a source tells."""
    return tuple(_link(link) for link in machine.links if _rate(link) is not None)


def _device(gpu: Gpu) -> DeviceCalibration:
    nominal = find_by_driver_name(gpu.name)
    memory_bytes = None
    if gpu.memory_bytes is not None:
        memory_bytes = _nominal(float(gpu.memory_bytes), "as the driver of such a GPU reports it")
    return DeviceCalibration(
        device=gpu.id,
        kind="gpu",
        name=gpu.name,
        memory_bytes=memory_bytes,
        memory_bandwidth_bytes_per_s=(
            None if nominal is None else _printed(nominal.memory_bytes_per_s)
        ),
        compute=() if nominal is None else _compute(nominal),
    )


def _compute(nominal: NominalDevice) -> tuple[ComputeRate, ...]:
    return tuple(
        ComputeRate(
            dtype=dtype,
            method="fma" if dtype in {"fp32", "fp64"} else "gemm",
            num_threads=None,
            variant="data sheet",
            rate_flop_per_s=_printed(figure),
        )
        for dtype, figure in nominal.compute_flop_per_s.items()
    )


def _operator(fit: OperatorFit, gpus: list[Gpu]) -> OperatorCost:
    evidence = (
        f"{fit.implementation}, {fit.source}: non-negative fit of {fit.num_fit_shapes} shapes, "
        f"mean error {fit.mean_ratio:.1%} on {fit.num_validation_shapes} others"
    )
    return OperatorCost(
        operator=fit.operator,
        implementation=fit.implementation,
        dtype=fit.dtype,
        devices=_devices(fit, gpus),
        num_units=fit.num_units,
        cache_bytes=fit.cache_bytes,
        coefficients=tuple(
            Coefficient(
                feature=name,
                unit=UNITS[name],
                estimate=Estimate(
                    value=value,
                    low=low,
                    high=high,
                    source=Source.DERIVED,
                    n=fit.num_fit_shapes,
                    evidence=evidence,
                ),
            )
            for name, (value, low, high) in fit.constants.items()
        ),
        num_fit_shapes=fit.num_fit_shapes,
        num_validation_shapes=fit.num_validation_shapes,
        mean_error_ratio=fit.mean_ratio,
        median_error_ratio=fit.median_ratio,
        p90_error_ratio=fit.p90_ratio,
        ranges=tuple(
            FeatureRange(feature=name, low=low, high=high)
            for name, (low, high) in fit.ranges.items()
        ),
    )


def _devices(fit: OperatorFit, gpus: list[Gpu]) -> tuple[str, ...]:
    """Return the GPUs that a fit is of."""
    nominal = find_nominal_device(fit.device)
    return tuple(gpu.id for gpu in gpus if nominal and gpu.name == nominal.driver_name)


def _link(link: Link) -> LinkCalibration:
    rate = _nominal(_rate(link) or 0.0, "after line encoding, before packet headers")
    return LinkCalibration(link=link.id, a_to_b_bytes_per_s=rate, b_to_a_bytes_per_s=rate)


def _rate(link: Link) -> float | None:
    return None if link.nominal is None else link.nominal.bandwidth_bytes_per_s


def _missing(machine: MachineDocument, gpus: list[Gpu]) -> tuple[Missing, ...]:
    reason = "nobody measured this machine, and no data sheet tells"
    found = [
        Missing(subject="links", fact="latency_s", reason=reason),
        Missing(subject="devices", fact="launch_overhead_s, host_swap, power", reason=reason),
        Missing(subject="host", fact="memory_bandwidth_bytes_per_s", reason=reason),
        Missing(subject="contention", fact="sharing_exponent, loaded_latency", reason=reason),
    ]
    found += [
        Missing(subject=gpu.id, fact="operators", reason=f"nobody published tables of {gpu.name}")
        for gpu in gpus
        if not any(_devices(fit, [gpu]) for fit in OPERATOR_FITS)
    ]
    found += [
        Missing(subject=link.id, fact="a_to_b_bytes_per_s", reason="its nominal rate is not known")
        for link in machine.links
        if _rate(link) is None
    ]
    return tuple(found)


def _printed(figure: Figure) -> Estimate:
    return _nominal(figure.value, figure.source)


def _nominal(value: float, evidence: str) -> Estimate:
    return Estimate(
        value=value, low=value, high=value, source=Source.NOMINAL, n=0, evidence=evidence
    )
