"""The kernels of the folder `cuda/`: their text, and machine code compiled from it at run time.

Compiling needs NVRTC, not a GPU or a driver, so that a machine without either compiles exactly
what a machine with one runs.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

from topoprobe.errors import EnvironmentMissing, TopoprobeError

#: Kernel families, each one file ``cuda/<family>.cu``.
FAMILIES = ("kv_blocks", "latch", "launch", "pattern", "stream")
#: Headers that a family may include.
HEADERS = ("common.cuh",)


@dataclass(frozen=True, slots=True)
class Binary:
    """What the compiler made of one family.

    Attributes
    ----------
    family : str
        Name of the file without its suffix.
    architecture : str
        ``sm_90`` for machine code, ``compute_90`` for PTX that the driver finishes compiling.
    code : bytes
        A cubin, or PTX text.
    log : str
        The compiler's warnings; empty when there are none.
    """

    family: str
    architecture: str
    code: bytes
    log: str


def source(name: str) -> str:
    """Return the text of a file of the folder `cuda/`, such as ``stream.cu``."""
    return resources.files("topoprobe.cuda").joinpath(name).read_text(encoding="utf-8")


def architecture_for(compute_capability: str) -> str:
    """Return the target to compile for on a GPU of this compute capability.

    Parameters
    ----------
    compute_capability : str
        As digits, ``90`` for 9.0.

    Returns
    -------
    str
        ``sm_<capability>`` where this NVRTC knows the GPU; for a newer GPU
        ``compute_<newest known>``, which its driver translates.

    Raises
    ------
    EnvironmentMissing
        If NVRTC is absent, or this one no longer supports a GPU that old.
    """
    known = supported_capabilities()
    wanted = int(compute_capability)
    if wanted in known:
        return f"sm_{wanted}"
    if wanted < known[0]:
        raise EnvironmentMissing(
            f"The GPU has compute capability {wanted / 10:.1f} and the installed NVRTC starts at "
            f"{known[0] / 10:.1f}: install the older toolkit, pip install 'topoprobe[cuda12]'."
        )
    return f"compute_{max(capability for capability in known if capability < wanted)}"


def supported_capabilities() -> tuple[int, ...]:
    """Return the compute capabilities that the installed NVRTC compiles for, ascending (90 is 9.0).

    Raises
    ------
    EnvironmentMissing
        If NVRTC or its binding is absent.
    """
    nvrtc = _nvrtc()
    return tuple(sorted(_checked(nvrtc, nvrtc.nvrtcGetSupportedArchs())))


@functools.cache
def compile_family(family: str, architecture: str) -> Binary:
    """Compile one family of kernels.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    architecture : str
        ``sm_90`` gives machine code, ``compute_90`` PTX.

    Raises
    ------
    EnvironmentMissing
        If NVRTC or its binding is absent.
    TopoprobeError
        If the text does not compile; the message ends with the compiler's log.
    """
    nvrtc = _nvrtc()
    headers = [source(name).encode() for name in HEADERS]
    names = [name.encode() for name in HEADERS]
    program = _checked(
        nvrtc,
        nvrtc.nvrtcCreateProgram(
            source(f"{family}.cu").encode(), f"{family}.cu".encode(), len(headers), headers, names
        ),
    )
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        log = _text(nvrtc, program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise TopoprobeError(f"cuda/{family}.cu does not compile for {architecture}: {log}")
        code = (
            _bytes(nvrtc, program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
            if architecture.startswith("sm_")
            else _bytes(nvrtc, program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return Binary(family=family, architecture=architecture, code=code, log=log)


def _nvrtc() -> Any:
    try:
        # NVIDIA's own package of that name; the folder `cuda/` of this repository is no package.
        from cuda.bindings import nvrtc  # noqa: TID251
    except ImportError as error:
        raise EnvironmentMissing(
            "The kernels cannot be compiled because cuda-bindings is not installed: "
            "pip install 'topoprobe[cuda13]' (or [cuda12])."
        ) from error
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # cuda.pathfinder's DynamicLibNotFoundError is one
        raise EnvironmentMissing(
            "The kernels cannot be compiled because the NVRTC library was not found: "
            "pip install 'topoprobe[cuda13]' (or [cuda12])."
        ) from error
    return nvrtc


def _checked(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    """Split a binding's answer into its status and its value, and refuse a bad status."""
    status, *values = answer
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise TopoprobeError(f"NVRTC answered {status.name} where success was expected.")
    return values[0] if values else None


def _bytes(nvrtc: Any, program: Any, size_of: Any, read: Any) -> bytes:
    buffer = bytes(_checked(nvrtc, size_of(program)))
    _checked(nvrtc, read(program, buffer))
    return buffer


def _text(nvrtc: Any, program: Any, size_of: Any, read: Any) -> str:
    return _bytes(nvrtc, program, size_of, read).rstrip(b"\0").decode(errors="replace").strip()
