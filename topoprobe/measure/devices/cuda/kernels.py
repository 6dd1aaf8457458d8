"""The kernels of the folder `cuda/`: their text, and machine code compiled from it at run time.

Compiling needs NVRTC, not a GPU or a driver, so that a machine without either compiles exactly
what a machine with one runs.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources

from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.devices.cuda.nvrtc import Nvrtc, load_nvrtc

#: Kernel families, each one file ``cuda/<family>.cu``.
FAMILIES = (
    "gemv",
    "intensity",
    "kv_blocks",
    "latch",
    "latency",
    "launch",
    "pattern",
    "sm_copy",
    "stream",
    "zero_copy",
)
#: Headers that a family may include.
HEADERS = ("common.cuh",)

_ENTRY = re.compile(r'extern "C" __global__ void (\w+)\(')


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
    kernel_names : tuple of str
        Kernels in it, in the order of the file; one that the GPU has no instructions for is left
        out by the file itself.
    """

    family: str
    architecture: str
    code: bytes
    log: str
    kernel_names: tuple[str, ...]


def source(name: str) -> str:
    """Return the text of a file of the folder `cuda/`, such as ``stream.cu``."""
    return resources.files("topoprobe.cuda").joinpath(name).read_text(encoding="utf-8")


def kernel_names(text: str) -> list[str]:
    """Return the kernels that a text defines, in its order."""
    return _ENTRY.findall(text)


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
        If NVRTC is absent.
    """
    return _compiler().capabilities()


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
        If NVRTC is absent.
    TopoprobeError
        If the text does not compile; the message ends with the compiler's log.
    """
    text = source(f"{family}.cu")
    code, log = _compiler().compile(
        f"{family}.cu",
        text,
        headers={name: source(name) for name in HEADERS},
        architecture=architecture,
    )
    return Binary(
        family=family,
        architecture=architecture,
        code=code,
        log=log,
        kernel_names=tuple(name for name in kernel_names(text) if _holds(code, name)),
    )


def _holds(code: bytes, name: str) -> bool:
    """Tell whether a kernel is in the code: a section of a cubin, an entry of PTX."""
    return f".text.{name}\0".encode() in code or f".entry {name}(".encode() in code


@functools.cache
def _compiler() -> Nvrtc:
    return load_nvrtc()
