// Enough of the CUDA language for g++ to compile a kernel as a plain function of one thread.
//
// The harness (conftest.py) calls the function once for every thread of the grid, one after the other,
// which checks the arithmetic and the indexing. What it cannot check is what depends on threads running
// at once; the kernels of this project use no barrier and no shared memory.
#pragma once
#include <time.h>

#define __global__
#define __device__
#define __forceinline__ inline

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

// Call the kernel once for every thread of a grid (x, y) of one-dimensional blocks.
template <typename Kernel>
static inline void run_grid(unsigned int x, unsigned int y, unsigned int threads, Kernel kernel) {
    gridDim = {x, y, 1};
    blockDim = {threads, 1, 1};
    for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel();
}

static inline double2 make_double2(double x, double y) { return {x, y}; }

static inline unsigned long long atomicMin(unsigned long long* address, unsigned long long value) {
    const unsigned long long old = *address;
    if (value < old) *address = value;
    return old;
}

static inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
    const unsigned long long old = *address;
    *address += value;
    return old;
}

static inline unsigned long long host_timer_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}
