// Arithmetic per byte, from memory-bound to compute-bound: multiply-adds on data read and written once.
//   data [num_vectors] vectors    16 bytes each: 4 fp32, 2 fp64, 4 pairs of fp16 or bf16; updated in place
//   num_vectors uint64            length, a multiple of 4
//   scale, shift                  one value of the type; a pair is passed twice in one uint32
//   num_rounds uint32             multiply-adds per element, x = x * scale + shift, of 2 flop each
//   launch  1-D, any number of blocks and threads (a grid-stride loop); 8 blocks of 256 per SM fill it
// A thread carries 8 independent chains, so that no chain's latency is waited for, and 16 rounds of them to
// a turn of the loop, so that counting it costs little: use multiples of 16 where arithmetic is the limit.
// With scale -1 and shift 3, x -> 3 - x keeps values in [1, 2], is exact in all four types, and is undone
// by the next round. bf16 needs compute capability 8.0; below, the file has no such kernel.
#include "common.cuh"

static constexpr unsigned int NUM_CHAINS = 8;

struct Fp16Pair {
    unsigned int bits;
};
struct Bf16Pair {
    unsigned int bits;
};

__device__ inline float multiply_add(float x, float scale, float shift) { return fmaf(x, scale, shift); }

__device__ inline double multiply_add(double x, double scale, double shift) { return fma(x, scale, shift); }

__device__ inline Fp16Pair multiply_add(Fp16Pair x, Fp16Pair scale, Fp16Pair shift) {
#ifdef __CUDACC__
    asm("fma.rn.f16x2 %0, %0, %1, %2;" : "+r"(x.bits) : "r"(scale.bits), "r"(shift.bits));
    return x;
#else
    return {host_fma_fp16x2(x.bits, scale.bits, shift.bits)};
#endif
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
__device__ inline Bf16Pair multiply_add(Bf16Pair x, Bf16Pair scale, Bf16Pair shift) {
#ifdef __CUDACC__
    asm("fma.rn.bf16x2 %0, %0, %1, %2;" : "+r"(x.bits) : "r"(scale.bits), "r"(shift.bits));
    return x;
#else
    return {host_fma_bf16x2(x.bits, scale.bits, shift.bits)};
#endif
}
#endif

template <typename Value>
struct alignas(16) Vector {
    static constexpr unsigned int NUM_VALUES = 16 / sizeof(Value);
    Value values[NUM_VALUES];
};

template <typename Value>
__device__ inline void update(Vector<Value>* data, Value scale, Value shift, unsigned int num_rounds,
                              unsigned long long num_vectors) {
    constexpr unsigned int num_parts = NUM_CHAINS / Vector<Value>::NUM_VALUES;
    const unsigned long long part = num_vectors / num_parts;
    for (unsigned long long i = grid_thread(); i < part; i += grid_num_threads()) {
        Vector<Value> mine[num_parts];
#pragma unroll
        for (unsigned int k = 0; k < num_parts; ++k) mine[k] = data[i + k * part];
#pragma unroll 16
        for (unsigned int round = 0; round < num_rounds; ++round)
#pragma unroll
            for (unsigned int k = 0; k < num_parts; ++k)
#pragma unroll
                for (Value& value : mine[k].values) value = multiply_add(value, scale, shift);
#pragma unroll
        for (unsigned int k = 0; k < num_parts; ++k) data[i + k * part] = mine[k];
    }
}

extern "C" __global__ void intensity_fp32(void* data, float scale, float shift, unsigned int num_rounds,
                                          unsigned long long num_vectors) {
    update(static_cast<Vector<float>*>(data), scale, shift, num_rounds, num_vectors);
}

extern "C" __global__ void intensity_fp64(void* data, double scale, double shift, unsigned int num_rounds,
                                          unsigned long long num_vectors) {
    update(static_cast<Vector<double>*>(data), scale, shift, num_rounds, num_vectors);
}

extern "C" __global__ void intensity_fp16(void* data, unsigned int scale, unsigned int shift,
                                          unsigned int num_rounds, unsigned long long num_vectors) {
    update(static_cast<Vector<Fp16Pair>*>(data), {scale}, {shift}, num_rounds, num_vectors);
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
extern "C" __global__ void intensity_bf16(void* data, unsigned int scale, unsigned int shift,
                                          unsigned int num_rounds, unsigned long long num_vectors) {
    update(static_cast<Vector<Bf16Pair>*>(data), {scale}, {shift}, num_rounds, num_vectors);
}
#endif
