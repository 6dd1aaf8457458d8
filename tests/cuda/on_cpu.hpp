// Enough of the CUDA language for g++ to compile a kernel as a plain function of one thread.
//
// The test sets the indices, calls the function once for every thread of the grid, one after the other,
// and so checks the arithmetic and the indexing. What it cannot check is what depends on threads running
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

extern "C" void become_thread(const unsigned int* indices) {
    threadIdx = {indices[0], 0, 0};
    blockDim = {indices[1], 1, 1};
    blockIdx = {indices[2], indices[3], 0};
    gridDim = {indices[4], indices[5], 1};
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
