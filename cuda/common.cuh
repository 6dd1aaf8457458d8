// What every kernel shares: thread indices, the verification pattern, clocks, and the SM a thread is on.
//
// Device code only; no host headers, so that NVRTC compiles it on a machine without a CUDA toolkit.
// tests/cuda compiles the same text with a C++ compiler and runs it on the CPU.
#pragma once

// Index of this thread in the whole grid, and the number of threads in it: the bounds of a grid-stride
// loop. 64 bits, since buffers hold more than 2^32 elements.
__device__ inline unsigned long long grid_thread() {
    return static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline unsigned long long grid_num_threads() {
    return static_cast<unsigned long long>(gridDim.x) * blockDim.x;
}

// Word `index` of the pattern that belongs to `seed`. The finalizer of SplitMix64 [steele2014]: every word
// differs from its neighbours and from the same word under another seed, so that a transfer that is
// shifted, stale or partly missing cannot look right, and links and memory see no compressible data.
__device__ inline unsigned long long pattern_word(unsigned long long seed, unsigned long long index) {
    unsigned long long word = seed + (index + 1) * 0x9e3779b97f4a7c15ull;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebull;
    return word ^ (word >> 31);
}

// Nanoseconds of the device-wide timer. Unlike clock64 it does not change pace with the SM clock.
__device__ inline unsigned long long timer_ns() {
#ifdef __CUDACC__
    unsigned long long ns;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
    return ns;
#else
    return host_timer_ns();  // given by the CPU harness of the tests
#endif
}

// Cycles of the SM that the thread is on. The compiler moves no access to memory across it.
__device__ inline unsigned long long clock_cycles() {
#ifdef __CUDACC__
    unsigned long long cycles;
    asm volatile("mov.u64 %0, %%clock64;" : "=l"(cycles)::"memory");
    return cycles;
#else
    return host_timer_ns();
#endif
}

// Index of the SM that the thread is on.
__device__ inline unsigned int sm_index() {
#ifdef __CUDACC__
    unsigned int index;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(index));
    return index;
#else
    return host_sm_index();
#endif
}

// Let the thread's warp rest: for twice as long at most, and never longer than 1 ms.
__device__ inline void rest_ns(unsigned int ns) {
#ifdef __CUDACC__
    asm volatile("nanosleep.u32 %0;" ::"r"(ns));
#else
    host_rest_ns(ns);
#endif
}
