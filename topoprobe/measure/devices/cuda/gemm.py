"""Matrix products on a GPU through torch, whose library picks the kernel for its tensor cores."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.errors import MeasurementFailed

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream

#: Number types of the operands; ``tf32`` are fp32 numbers of which the tensor cores use 19 bits.
DTYPES = ("fp16", "bf16", "tf32", "fp32", "fp64")

_TORCH_NAMES = {
    "fp16": "float16",
    "bf16": "bfloat16",
    "tf32": "float32",
    "fp32": "float32",
    "fp64": "float64",
}
# Bits of the mantissa that survive in products, the hidden one included.
_PRECISION_BITS = {"fp16": 11, "bf16": 8, "tf32": 11, "fp32": 24, "fp64": 53}
_NUM_CHECKED = 8


def torch_gap() -> str | None:
    """Say why torch cannot multiply on a GPU here, or None."""
    if importlib.util.find_spec("torch") is None:
        return "torch, through which matrices are multiplied, is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} has no CUDA; install a build that has"
    return None


def num_flop(size: int) -> int:
    """Return the flop of a product of two square matrices: a multiply-add counts two."""
    return 2 * size**3


def num_bytes(dtype: str, size: int) -> int:
    """Return the memory of two operands and the product."""
    return 3 * size * size * {"fp64": 8, "fp32": 4, "tf32": 4}.get(dtype, 2)


@dataclass(frozen=True, slots=True)
class Gemm:
    """One product ``c = a b`` of square matrices on a GPU.

    Attributes
    ----------
    dtype : str
        One of `DTYPES`.
    a, b, c : torch.Tensor
        Of shape (size, size); a and b hold random numbers in [-1, 1).
    """

    dtype: str
    a: Any
    b: Any
    c: Any

    @classmethod
    def of(cls, device: CudaDevice, dtype: str, size: int) -> Gemm:
        """Make the matrices and load the library, which the first product does.

        Raises
        ------
        MeasurementFailed
            If there is not enough memory, or the library has no such product.
        """
        import torch

        kind = getattr(torch, _TORCH_NAMES[dtype])
        place = torch.device("cuda", device.ordinal)
        generator = torch.Generator(place).manual_seed(1)
        try:
            a, b = (
                (torch.rand(size, size, device=place, generator=generator) * 2 - 1).to(kind)
                for _ in range(2)
            )
            made = cls(dtype, a, b, torch.empty_like(a))
            made._multiply()
            torch.cuda.synchronize(place)
        except RuntimeError as error:  # torch's error for anything that CUDA refuses
            raise MeasurementFailed(f"torch could not multiply {dtype}: {error}.") from error
        return made

    def enqueue(self, stream: CudaStream) -> None:
        """Put one product on a stream."""
        import torch

        as_torch: Any = torch.cuda.ExternalStream  # torch does not annotate it
        with torch.cuda.stream(as_torch(stream.handle, self.a.device)):
            self._multiply()

    def check(self) -> None:
        """Compare some rows of the product with float64's.

        Raises
        ------
        MeasurementFailed
            If they differ by more than rounding explains.
        """
        size = self.a.shape[0]
        rows = slice(0, size, max(1, size // _NUM_CHECKED))
        expected = self.a[rows].double() @ self.b.double()
        # The error of a sum of n rounded products of numbers in [-1, 1) grows as sqrt(n).
        allowed = 8 * size**0.5 * 2.0 ** -_PRECISION_BITS[self.dtype]
        worst = float((self.c[rows].double() - expected).abs().max())
        if not worst <= max(allowed, float(expected.abs().max()) * 2.0 ** -_result_bits(self.c)):
            raise MeasurementFailed(
                f"A product of {self.dtype} matrices is off by {worst:g}, more than {allowed:g}."
            )

    def _multiply(self) -> None:
        import torch

        was_allowed = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.dtype == "tf32"
        try:
            torch.mm(self.a, self.b, out=self.c)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = was_allowed


def _result_bits(product: Any) -> int:
    """Return the bits of the mantissa in which a product is stored, less one for rounding."""
    return {2: 6, 4: 22, 8: 51}[product.element_size()]
