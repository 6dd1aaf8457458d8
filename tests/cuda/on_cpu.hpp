// Enough of the CUDA language for g++ to compile a kernel as a plain function of one thread.
//
// The harness (conftest.py) calls the function once for every thread of the grid, one after the other,
// which checks the arithmetic and the indexing; or, for kernels whose threads wait for each other, each in
// a thread of the host. The kernels of this project use no barrier and no shared memory.
#pragma once
#include <math.h>
#include <string.h>
#include <time.h>

#include <thread>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
// The harness's own accesses to memory are not the kernels'.
#define ON_HOST __attribute__((no_sanitize("thread")))

struct dim3 {
    unsigned int x, y, z;
};
struct alignas(16) double2 {
    double x, y;
};
struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};
struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};

// Per host thread, so that a latch can spin in one while the test works in another.
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

template <typename Type>
struct RemoveConst {
    using type = Type;
};
template <typename Type>
struct RemoveConst<const Type> {
    using type = Type;
};
template <typename Type>
using std_remove_const = typename RemoveConst<Type>::type;

// A test may leave out the first blocks, as if they had not come to run yet.
static unsigned int first_block = 0;

extern "C" ON_HOST void set_first_block(unsigned int index) { first_block = index; }

// Call the kernel once for every thread of a grid (x, y) of one-dimensional blocks.
template <typename Kernel>
static void run_grid(unsigned int x, unsigned int y, unsigned int threads, Kernel kernel) {
    gridDim = {x, y, 1};
    blockDim = {threads, 1, 1};
    for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y)
        for (blockIdx.x = first_block; blockIdx.x < x; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel();
}

// The same with all threads at once.
template <typename Kernel>
static void run_grid_at_once(unsigned int x, unsigned int threads, Kernel kernel) {
    std::vector<std::thread> running;
    for (unsigned int block = 0; block < x; ++block)
        for (unsigned int thread = 0; thread < threads; ++thread)
            running.emplace_back([=] {
                gridDim = {x, 1, 1};
                blockDim = {threads, 1, 1};
                blockIdx = {block, 0, 0};
                threadIdx = {thread, 0, 0};
                kernel();
            });
    for (std::thread& one : running) one.join();
}

static inline double2 make_double2(double x, double y) { return {x, y}; }

static inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) { return {x, y}; }

template <typename Change>
ON_HOST static unsigned long long change_atomically(unsigned long long* address, Change change) {
    unsigned long long old = __atomic_load_n(address, __ATOMIC_SEQ_CST);
    while (!__atomic_compare_exchange_n(address, &old, change(old), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
    }
    return old;
}

ON_HOST static inline unsigned long long atomicMin(unsigned long long* address, unsigned long long value) {
    return change_atomically(address, [=](unsigned long long old) { return value < old ? value : old; });
}

ON_HOST static inline unsigned long long atomicMax(unsigned long long* address, unsigned long long value) {
    return change_atomically(address, [=](unsigned long long old) { return value > old ? value : old; });
}

ON_HOST static inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
    return change_atomically(address, [=](unsigned long long old) { return old + value; });
}

ON_HOST static inline unsigned long long atomicXor(unsigned long long* address, unsigned long long value) {
    return change_atomically(address, [=](unsigned long long old) { return old ^ value; });
}

ON_HOST static inline unsigned long long host_timer_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

ON_HOST static inline void host_rest_ns(unsigned int ns) {
    const timespec span = {0, static_cast<long>(ns)};
    nanosleep(&span, nullptr);
}

// Blocks go to the SMs in turn; a test may make these few.
static unsigned int num_sms = 1u << 31;

extern "C" ON_HOST void set_num_sms(unsigned int count) { num_sms = count; }

ON_HOST static inline unsigned int host_sm_index() { return blockIdx.x % num_sms; }

// A number with few bits: normal numbers and zero only, all that the tests use. Its product and sum are
// exact in double, so that rounding once, to the nearest even, is what a fused multiply-add does.
template <int EXPONENT_BITS, int MANTISSA_BITS>
struct SmallFloat {
    static constexpr int BIAS = (1 << (EXPONENT_BITS - 1)) - 1;
    static constexpr unsigned int MANTISSA = (1u << MANTISSA_BITS) - 1;

    ON_HOST static double decode(unsigned int bits) {
        const int exponent = (bits >> MANTISSA_BITS) & ((1 << EXPONENT_BITS) - 1);
        if (exponent == 0) return 0.0;
        const double size = ldexp(1.0 + ldexp(bits & MANTISSA, -MANTISSA_BITS), exponent - BIAS);
        return bits >> (EXPONENT_BITS + MANTISSA_BITS) & 1 ? -size : size;
    }

    ON_HOST static unsigned int encode(double value) {
        const unsigned int sign = (signbit(value) ? 1u : 0u) << (EXPONENT_BITS + MANTISSA_BITS);
        if (value == 0.0) return sign;
        int exponent;
        const double fraction = frexp(fabs(value), &exponent);  // in [0.5, 1)
        const unsigned int digits = static_cast<unsigned int>(nearbyint(ldexp(fraction, MANTISSA_BITS + 1)));
        // A carry out of the mantissa raises the exponent by itself.
        return sign | (((exponent - 1 + BIAS - 1) << MANTISSA_BITS) + digits);
    }

    ON_HOST static unsigned int fma_pair(unsigned int x, unsigned int scale, unsigned int shift) {
        const auto one = [](unsigned int a, unsigned int b, unsigned int c) {
            return encode(decode(a & 0xffff) * decode(b & 0xffff) + decode(c & 0xffff));
        };
        return one(x, scale, shift) | one(x >> 16, scale >> 16, shift >> 16) << 16;
    }
};

ON_HOST static inline unsigned int host_fma_fp16x2(unsigned int x, unsigned int scale, unsigned int shift) {
    return SmallFloat<5, 10>::fma_pair(x, scale, shift);
}

ON_HOST static inline unsigned int host_fma_bf16x2(unsigned int x, unsigned int scale, unsigned int shift) {
    return SmallFloat<8, 7>::fma_pair(x, scale, shift);
}
