// Copy by SMs instead of a copy engine: from or to another GPU, pinned host memory, or within the GPU.
//   target, source [num_vectors] ulonglong2   16 bytes an access
//   num_vectors uint64                        length of both
//   launch  1-D; the number of blocks is how much of the GPU the copy may take. 512 threads a block
// Each thread has 8 loads on the way at once, since a few blocks must cover the microseconds of a link.
#include "common.cuh"

static constexpr unsigned int NUM_IN_FLIGHT = 8;

extern "C" __global__ void sm_copy(ulonglong2* target, const ulonglong2* source,
                                   unsigned long long num_vectors) {
    const unsigned long long stride = grid_num_threads();
    unsigned long long i = grid_thread();
    for (; i + (NUM_IN_FLIGHT - 1) * stride < num_vectors; i += NUM_IN_FLIGHT * stride) {
        ulonglong2 values[NUM_IN_FLIGHT];
#pragma unroll
        for (unsigned int k = 0; k < NUM_IN_FLIGHT; ++k) values[k] = source[i + k * stride];
#pragma unroll
        for (unsigned int k = 0; k < NUM_IN_FLIGHT; ++k) target[i + k * stride] = values[k];
    }
    for (; i < num_vectors; i += stride) target[i] = source[i];
}
