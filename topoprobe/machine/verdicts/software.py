"""Whether the Python environment suits the driver and the GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from topoprobe.machine.cuda import extra_for, newest_cuda
from topoprobe.machine.verdicts.check import fail, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import listed
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu

NAME = "software"
ALL_WELL = "parts of the Python environment fit"
_NVIDIA = "10de"
_BINDING = "nvidia-ml-py"
# Up to version 11 `pynvml` was an old copy of the binding; since 12 it only asks for the real one.
_OTHER_BINDINGS = ("pynvml", "nvidia-ml-py3")
_FIRST_WRAPPER = 12


class Distribution(NamedTuple):
    """An installed Python distribution."""

    name: str
    version: str


def judge(machine: Machine, installed: Sequence[Distribution]) -> Iterator[Verdict]:
    """Compare what is installed with what this machine can use.

    Parameters
    ----------
    machine : Machine
        The machine that the environment is on.
    installed : sequence of Distribution
        Those of `INTERESTING` names.
    """
    yield from _bindings(installed)
    gpus = [gpu for gpu in machine.all(Gpu) if gpu.pci_vendor == _NVIDIA]
    found = [one for one in installed if one.name.startswith("cupy")]
    if not gpus:
        kind = "GPU" if not machine.all(Gpu) else "NVIDIA GPU"
        yield ok(NAME, "host", f"There is no {kind}, so no CUDA package is needed.")
    else:
        yield from _cupy(gpus, found)


INTERESTING = (
    _BINDING,
    *_OTHER_BINDINGS,
    "cupy",
    "cupy-cuda11x",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def _bindings(installed: Sequence[Distribution]) -> Iterator[Verdict]:
    own = [one for one in installed if one.name == _BINDING]
    others = [one for one in installed if one.name in _OTHER_BINDINGS]
    both = listed([_written(one) for one in (*own, *others)]) if own or others else ""
    copies = [one for one in others if one.name != "pynvml" or _major(one) < _FIRST_WRAPPER]
    names = " ".join(dict.fromkeys(one.name for one in others))
    if copies or len(own) > 1:
        yield warn(
            NAME,
            "host",
            f"More than one distribution brings the module pynvml: {both}. Which one Python finds "
            "is a matter of luck, and the old one misreads new drivers.",
            f"pip uninstall {names or _BINDING}, then pip install --force-reinstall {_BINDING}.",
        )
    elif others:
        yield warn(
            NAME,
            "host",
            f"{_written(others[0])} is a deprecated wrapper of {_BINDING}, which is used.",
            f"pip uninstall {names}: nothing here needs it.",
        )
    elif own:
        yield ok(NAME, "host", f"{both} is the only binding of NVML.")


def _cupy(gpus: Sequence[Gpu], found: Sequence[Distribution]) -> Iterator[Verdict]:
    extra, newest = extra_for(gpus), newest_cuda(gpus)
    driver = next((gpu.driver for gpu in gpus if gpu.driver), "an unknown driver")
    install = f"pip install 'topoprobe[{extra}]'"
    if not found:
        yield warn(
            NAME,
            "host",
            f"CuPy is not installed, so the GPUs ({driver}) cannot be measured.",
            f"{install}; it suits this driver and these GPUs.",
        )
        return
    names = listed([_written(one) for one in found])
    uninstall = f"pip uninstall {' '.join(one.name for one in found)}, then {install}."
    if len(found) > 1:
        yield fail(NAME, "host", f"{names} overwrite each other's files.", uninstall)
        return
    cuda = _cuda_of(found[0])
    if cuda is None:
        yield ok(NAME, "host", f"{names} was built here, for a CUDA that its name does not tell.")
    elif cuda > newest:
        evidence = f"{names} needs CUDA {cuda}; {driver} and these GPUs run {newest} at most."
        yield fail(NAME, "host", evidence, uninstall)
    elif cuda < 12:
        evidence = f"{names} is made for CUDA {cuda}, which topoprobe's kernels do not build with."
        yield fail(NAME, "host", evidence, uninstall)
    else:
        older = ", which runs programs of older versions too" if cuda < newest else ""
        yield ok(NAME, "host", f"{names} fits {driver} (CUDA {newest}{older}).")


def _cuda_of(one: Distribution) -> int | None:
    number = one.name.removeprefix("cupy-cuda").removesuffix("x")
    return int(number) if number.isdecimal() else None


def _major(one: Distribution) -> int:
    number = one.version.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _written(one: Distribution) -> str:
    return f"{one.name} {one.version}"
