"""The experiments: what is measured, and how it is run fairly."""

from topoprobe.measure.benchmark import Benchmark

from .compute import ComputeBenchmark
from .contention import ContentionBenchmark
from .core_to_core import CoreToCoreBenchmark
from .cuda_cascade import CudaCascadeBenchmark
from .cuda_collectives import CudaCollectivesBenchmark
from .cuda_contention import CudaContentionBenchmark
from .cuda_copy import CudaCopyBenchmark
from .cuda_far_memory import CudaFarMemoryBenchmark
from .cuda_gemm import CudaGemmBenchmark
from .cuda_host_memory import CudaHostMemoryBenchmark
from .cuda_host_traffic import CudaHostTrafficBenchmark
from .cuda_interference import CudaInterferenceBenchmark
from .cuda_joining import CudaJoiningBenchmark
from .cuda_kv_swap import CudaKvSwapBenchmark
from .cuda_latency import CudaLatencyBenchmark
from .cuda_launch import CudaLaunchBenchmark
from .cuda_patterns import CudaPatternsBenchmark
from .cuda_peers import CudaPeersBenchmark
from .cuda_roofline import CudaRooflineBenchmark
from .cuda_soak import CudaSoakBenchmark
from .cuda_stream import CudaStreamBenchmark
from .cuda_subsets import CudaSubsetsBenchmark
from .cuda_transactions import CudaTransactionsBenchmark
from .disk import DiskBenchmark
from .kv_swap import KvSwapBenchmark
from .latency import LatencyBenchmark
from .model_steps import ModelStepsBenchmark
from .numa_matrix import NumaMatrixBenchmark
from .roofline import RooflineBenchmark
from .stream import StreamBenchmark

BENCHMARKS: tuple[Benchmark, ...] = (
    StreamBenchmark(),
    LatencyBenchmark(),
    CoreToCoreBenchmark(),
    NumaMatrixBenchmark(),
    ComputeBenchmark(),
    RooflineBenchmark(),
    ContentionBenchmark(),
    KvSwapBenchmark(),
    DiskBenchmark(),
    CudaStreamBenchmark(),
    CudaLatencyBenchmark(),
    CudaRooflineBenchmark(),
    CudaGemmBenchmark(),
    CudaLaunchBenchmark(),
    CudaCopyBenchmark(),
    CudaHostMemoryBenchmark(),
    CudaKvSwapBenchmark(),
    CudaContentionBenchmark(),
    CudaInterferenceBenchmark(),
    CudaHostTrafficBenchmark(),
    CudaSubsetsBenchmark(),
    CudaPeersBenchmark(),
    CudaPatternsBenchmark(),
    CudaFarMemoryBenchmark(),
    CudaTransactionsBenchmark(),
    CudaCascadeBenchmark(),
    CudaJoiningBenchmark(),
    CudaCollectivesBenchmark(),
    CudaSoakBenchmark(),
    ModelStepsBenchmark(),
)
"""Every benchmark, in the order in which the suite runs them."""
