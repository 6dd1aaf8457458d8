"""NVIDIA's run-time compiler, straight from its library.

One binding for every major version of CUDA: the Python packages that bind NVRTC are each made for
one, and this way a machine without a GPU runs the same code path as one with any.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence

from topoprobe.errors import EnvironmentMissing, TopoprobeError

_Program = ctypes.c_void_p


class Nvrtc:
    """The compiler.

    Parameters
    ----------
    library : ctypes.CDLL
        ``libnvrtc``, of CUDA 12 or later.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def version(self) -> tuple[int, int]:
        """Return the CUDA version that it belongs to, as ``(13, 0)``."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def capabilities(self) -> tuple[int, ...]:
        """Return the compute capabilities that it compiles for, ascending; 90 is 9.0."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", found)
        return tuple(sorted(found))

    def compile(
        self,
        name: str,
        text: str,
        *,
        headers: Mapping[str, str],
        architecture: str,
        options: Sequence[str] = (),
    ) -> tuple[bytes, str]:
        """Compile one file.

        Parameters
        ----------
        name, text : str
            The file's name, for messages, and its content.
        headers : mapping
            Content of every file that it may include, by the name it includes it under.
        architecture : str
            ``sm_90`` for machine code, ``compute_90`` for PTX.
        options : sequence of str
            Further options of the compiler.

        Returns
        -------
        code : bytes
            A cubin, or PTX.
        log : str
            Warnings; empty when there are none.

        Raises
        ------
        TopoprobeError
            If it does not compile; the message ends with the log.
        """
        program = _Program()
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            text.encode(),
            name.encode(),
            ctypes.c_int(len(headers)),
            _strings(list(headers.values())),
            _strings(list(headers)),
        )
        try:
            given = [f"--gpu-architecture={architecture}", "--std=c++17", *options]
            status = self._library.nvrtcCompileProgram(
                program, ctypes.c_int(len(given)), _strings(given)
            )
            log = self._read("nvrtcGetProgramLog", program).rstrip(b"\0").decode(errors="replace")
            if status != 0:
                raise TopoprobeError(f"{name} does not compile for {architecture}: {log.strip()}")
            kind = "CUBIN" if architecture.startswith("sm_") else "PTX"
            return self._read(f"nvrtcGet{kind}", program), log.strip()
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def _read(self, function: str, program: _Program) -> bytes:
        """Read text or code whose size `function` + ``Size`` tells."""
        size = ctypes.c_size_t()
        self._call(f"{function}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(function, program, buffer)
        return buffer.raw

    def _call(self, function: str, *arguments: object) -> None:
        call: Callable[..., int] = getattr(self._library, function)
        status = call(*arguments)
        if status != 0:
            reason = self._library.nvrtcGetErrorString(ctypes.c_int(status)).decode()
            raise TopoprobeError(f"{function} answered {reason} where success was expected.")


def load_nvrtc() -> Nvrtc:
    """Find and load the library: a pip wheel, a conda package, or a CUDA toolkit.

    Raises
    ------
    EnvironmentMissing
        If there is none.
    """
    try:
        # NVIDIA's own package of that name; the folder `cuda/` of this repository is no package.
        from cuda.pathfinder import load_nvidia_dynamic_lib  # noqa: TID251
    except ImportError as error:
        raise EnvironmentMissing(
            "The kernels cannot be compiled because cuda-pathfinder, which finds NVRTC, is not "
            "installed: pip install 'topoprobe[cuda13]' (or [cuda12])."
        ) from error
    try:
        path = load_nvidia_dynamic_lib("nvrtc").abs_path
    except RuntimeError as error:  # DynamicLibNotFoundError is one
        raise EnvironmentMissing(
            "The kernels cannot be compiled because the NVRTC library was not found: "
            "pip install 'topoprobe[cuda13]' (or [cuda12])."
        ) from error
    return Nvrtc(ctypes.CDLL(path))


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
