"""A model on a device: what its steps cost there, how sure that is, and its room for KV blocks."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from topoprobe.errors import ModelError
from topoprobe.model.calibration.composed import compose_law
from topoprobe.model.catalogue.devices import NominalDevice
from topoprobe.model.catalogue.shapes import DTYPE_BYTES, MODEL_SHAPES, find_shape
from topoprobe.model.cost import (
    StepLaw,
    derive_law,
    kv_bytes_per_token,
    law_from,
    num_parameters,
)
from topoprobe.model.operators.recorded import law_of
from topoprobe.model.operators.step import StepOperators
from topoprobe.records.base import Source
from topoprobe.records.calibration import (
    CalibrationDocument,
    DeviceCalibration,
    ModelCost,
    ModelShape,
)
from topoprobe.units import format_bytes

_SAME_RATES = {"bf16": ("bf16", "fp16"), "fp16": ("bf16", "fp16")}
"""Types that matrix units and memory take equally fast, by their data sheets."""

USABLE_RATIO = 0.9
"""Share of a device's memory that weights and KV cache may take; activations need the rest."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model on a worker.

    Attributes
    ----------
    shape : ModelShape
        The model.
    devices : tuple of str
        Where it runs.
    law : StepLaw
        What its steps cost.
    source : Source
        Whether the law was measured, derived from measured ceilings, or from nominal ones.
    evidence : str
        Where it comes from, for people.
    memory_bytes : float or None
        Memory of the devices, where known.
    num_alike : int
        How many devices of their kind the machine has, them among it.
    """

    shape: ModelShape
    devices: tuple[str, ...]
    law: StepLaw
    source: Source
    evidence: str
    memory_bytes: float | None
    num_alike: int = 1


def deploy_nominal(device: NominalDevice, model: str) -> Deployment:
    """Put a model of the catalogue on a nominal device, by its roofline.

    Raises
    ------
    ModelError
        If there is no such model, or the device has no figure for its data type.
    """
    shape = _known_shape(model)
    flop_per_s = device.compute_flop_per_s.get(shape.dtype)
    if flop_per_s is None:
        offer = _instead(shape, device.compute_flop_per_s, device.memory_bytes.value)
        raise ModelError(
            f"{device.title} has no nominal {shape.dtype} rate, which {model} needs; choose "
            f"another device, or {offer or 'another model'}."
        )
    sheet = flop_per_s.source.partition(";")[0]
    return Deployment(
        shape=shape,
        devices=(device.name,),
        law=derive_law(
            shape, flop_per_s=flop_per_s.value, bytes_per_s=device.memory_bytes_per_s.value
        ),
        source=Source.NOMINAL,
        evidence=f"{sheet}: peak arithmetic and bandwidth, no overheads",
        memory_bytes=device.memory_bytes.value,
    )


def deploy_calibrated(calibration: CalibrationDocument, model: str | None) -> Deployment:
    """Put a model on the machine that was calibrated.

    The step law that was measured for the model is used; a model of the catalogue that was not
    measured gets one from its operators on the first device where they were timed, else from the
    ceilings of the first device that has them.

    Parameters
    ----------
    calibration : CalibrationDocument
        What was measured.
    model : str or None
        Its name, or ``name:dtype``; None for the only one that was measured.

    Raises
    ------
    ModelError
        If the choice is not clear, or nothing was measured that it needs.
    """
    measured = [cost for cost in calibration.models if model is None or model in _names(cost)]
    if len(measured) > 1:
        names = ", ".join(f"{cost.model.name}:{cost.model.dtype}" for cost in measured)
        raise ModelError(f"The calibration has several step laws: {names}; name one with --model.")
    if measured:
        return _measured(calibration, measured[0])
    if model is None:
        raise ModelError(
            "The calibration has no step law; name a model of the catalogue with --model: "
            f"{_catalogue()}."
        )
    shape = _known_shape(model)
    return _composed(calibration, shape) or _derived(calibration, shape)


def num_kv_blocks(deployment: Deployment, block_size: int, memory_bytes: float | None) -> int:
    """Return how many KV blocks fit beside the weights.

    Parameters
    ----------
    deployment : Deployment
        The model and its worker.
    block_size : int
        Tokens in a block.
    memory_bytes : float or None
        Memory for weights and cache; None for the usable share of the devices' memory.

    Raises
    ------
    ModelError
        If no memory size is known, or not even one block fits.
    """
    if memory_bytes is None:
        if deployment.memory_bytes is None:
            raise ModelError(
                "The calibration does not tell the device's memory; give --memory or --num-blocks."
            )
        memory_bytes = deployment.memory_bytes * USABLE_RATIO
    weights_bytes = num_parameters(deployment.shape) * deployment.shape.dtype_bytes
    block_bytes = block_size * kv_bytes_per_token(deployment.shape)
    num_blocks = int((memory_bytes - weights_bytes) // block_bytes)
    if num_blocks < 1:
        raise ModelError(
            f"{deployment.shape.name} takes {format_bytes(weights_bytes)} for weights and "
            f"{format_bytes(block_bytes)} for a KV block, and {format_bytes(memory_bytes)} are "
            "usable; give more memory or a smaller model."
        )
    return num_blocks


def taken_bytes(deployment: Deployment, num_blocks: int, block_size: int) -> float:
    """Return what weights and so many KV blocks take."""
    weights_bytes = num_parameters(deployment.shape) * deployment.shape.dtype_bytes
    return weights_bytes + num_blocks * block_size * kv_bytes_per_token(deployment.shape)


def _measured(calibration: CalibrationDocument, cost: ModelCost) -> Deployment:
    law = law_from(cost)
    devices = [each for each in calibration.devices if each.device in cost.devices]
    error = (
        "not validated"
        if cost.mean_error_ratio is None
        else f"mean error {cost.mean_error_ratio:.1%} on {cost.num_validation_shapes} other shapes"
    )
    sources = {each.estimate.source for each in cost.coefficients}
    source = next(
        each for each in (Source.NOMINAL, Source.DERIVED, Source.MEASURED) if each in sources
    )
    return Deployment(
        shape=cost.model,
        devices=cost.devices,
        law=law,
        source=source,
        evidence=f"step law fitted on {cost.num_fit_shapes} shapes, {error}",
        memory_bytes=_memory_bytes(devices),
    )


def _composed(calibration: CalibrationDocument, shape: ModelShape) -> Deployment | None:
    """Price steps as the sum of the operators that were timed on a device; None if some are not."""
    for device in calibration.devices:
        costs = {
            cost.operator: cost
            for cost in calibration.operators
            if device.device in cost.devices and shape.dtype in _SAME_RATES.get(cost.dtype, ())
        }
        if not {"gemm", "prefill_attention", "decode_attention"} <= set(costs):
            continue
        composed = compose_law(
            shape,
            StepOperators(
                gemm=law_of(costs["gemm"]),
                prefill_attention=law_of(costs["prefill_attention"]),
                decode_attention=law_of(costs["decode_attention"]),
            ),
        )
        beyond = ", ".join(composed.extrapolated)
        return Deployment(
            shape=shape,
            devices=(device.device,),
            law=composed.law,
            source=Source.DERIVED,
            evidence=(
                f"products and attention timed on {device.name} with "
                f"{costs['gemm'].implementation}, summed within {composed.mean_error_ratio:.0%}; "
                f"no norms, no sampling"
                f"{f'; extrapolated: {beyond}' if beyond else ''}"
            ),
            memory_bytes=_memory_bytes([device]),
            num_alike=_num_alike(calibration, device),
        )
    return None


def _derived(calibration: CalibrationDocument, shape: ModelShape) -> Deployment:
    for device in calibration.devices:
        rates = [each.rate_flop_per_s for each in device.compute if each.dtype == shape.dtype]
        bandwidth = device.memory_bandwidth_bytes_per_s
        if rates and bandwidth is not None:
            rate = max(rates, key=lambda each: each.value)
            overhead = device.launch_overhead_s
            is_nominal = Source.NOMINAL in {rate.source, bandwidth.source}
            return Deployment(
                shape=shape,
                devices=(device.device,),
                law=derive_law(
                    shape,
                    flop_per_s=rate.value,
                    bytes_per_s=bandwidth.value,
                    fixed_s=0.0 if overhead is None else overhead.value,
                ),
                source=Source.NOMINAL if is_nominal else Source.DERIVED,
                evidence=f"roofline of {device.name or device.device}; no step was measured",
                memory_bytes=_memory_bytes([device]),
                num_alike=_num_alike(calibration, device),
            )
    offers = (
        _instead(shape, [rate.dtype for rate in each.compute], _memory_bytes([each]))
        for each in calibration.devices
        if each.memory_bandwidth_bytes_per_s is not None
    )
    raise ModelError(
        f"The calibration has no step law of {shape.name}, and no device with a measured "
        f"{shape.dtype} rate and memory bandwidth to derive one from; measure them with "
        f"`topoprobe bench`, or choose {next(filter(None, offers), 'another model')}."
    )


def _instead(shape: ModelShape, dtypes: Collection[str], memory_bytes: float | None) -> str | None:
    """Name the model in a type that a device has a rate of and room for, the nearest in size."""
    room_bytes = math.inf if memory_bytes is None else memory_bytes * USABLE_RATIO
    fitting = [
        dtype
        for dtype, num_bytes in DTYPE_BYTES.items()
        if dtype in dtypes and num_bytes * num_parameters(shape) < room_bytes
    ]
    if not fitting:
        return None
    nearest = min(fitting, key=lambda dtype: abs(DTYPE_BYTES[dtype] - shape.dtype_bytes))
    return f"{shape.name}:{nearest}"


def _num_alike(calibration: CalibrationDocument, device: DeviceCalibration) -> int:
    return sum((each.kind, each.name) == (device.kind, device.name) for each in calibration.devices)


def _memory_bytes(devices: list[DeviceCalibration]) -> float | None:
    sizes = [each.memory_bytes.value for each in devices if each.memory_bytes is not None]
    return sum(sizes) if sizes else None


def _known_shape(model: str) -> ModelShape:
    """Return a model of the catalogue, with the data type that ``name:dtype`` asks for."""
    name, _, dtype = model.partition(":")
    shape = find_shape(name)
    if shape is None:
        raise ModelError(f"There is no model {model!r}; expected one of {_catalogue()}.")
    if not dtype:
        return shape
    if dtype not in DTYPE_BYTES:
        raise ModelError(
            f"{model} has the data type {dtype!r}; expected one of {', '.join(DTYPE_BYTES)}."
        )
    return msgspec.structs.replace(shape, dtype=dtype, dtype_bytes=DTYPE_BYTES[dtype])


def _names(cost: ModelCost) -> tuple[str, str]:
    return cost.model.name, f"{cost.model.name}:{cost.model.dtype}"


def _catalogue() -> str:
    return ", ".join(shape.name for shape in MODEL_SHAPES)
