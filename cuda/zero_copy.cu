// Small transactions over a link: accesses of a chosen size, far apart, to host memory or another GPU's.
//   memory [..] ulonglong2         access i starts at vector i * vectors_per_stride
//   lanes_per_access uint32        size of an access, in 16-byte vectors, each by its own lane of one warp:
//                                  2, 4, 8, 16 or 32 for 32, 64, 128, 256 or 512 bytes
//   vectors_per_stride uint64      distance between accesses; 8 (128 bytes) or more merge none
//   num_accesses uint64            how many
//   seed uint64                    write only: vector v becomes {w, ~w}, with w = pattern_word(seed, v)
//   sums [threads] uint64          read only: bitwise XOR of the words that each thread read
//   launch  1-D, any number of blocks of whole warps (a grid-stride loop)
// An aligned access of up to 128 bytes leaves an SM as one request; a larger one as several of 128 bytes,
// next to each other. On links of 128-byte payloads, as SMs use, 256 and 512 therefore tell the gain of
// locality alone [min2020].
#include "common.cuh"

extern "C" __global__ void zero_copy_read(const ulonglong2* memory, unsigned long long* sums,
                                          unsigned int lanes_per_access,
                                          unsigned long long vectors_per_stride,
                                          unsigned long long num_accesses) {
    const unsigned long long lane = threadIdx.x % lanes_per_access;
    const unsigned long long step = grid_num_threads() / lanes_per_access;
    unsigned long long sum = 0;
#pragma unroll 4
    for (unsigned long long i = grid_thread() / lanes_per_access; i < num_accesses; i += step) {
        const ulonglong2 value = memory[i * vectors_per_stride + lane];
        sum ^= value.x ^ value.y;
    }
    sums[grid_thread()] = sum;
}

extern "C" __global__ void zero_copy_write(ulonglong2* memory, unsigned long long seed,
                                           unsigned int lanes_per_access,
                                           unsigned long long vectors_per_stride,
                                           unsigned long long num_accesses) {
    const unsigned long long lane = threadIdx.x % lanes_per_access;
    const unsigned long long step = grid_num_threads() / lanes_per_access;
    for (unsigned long long i = grid_thread() / lanes_per_access; i < num_accesses; i += step) {
        const unsigned long long vector = i * vectors_per_stride + lane;
        const unsigned long long word = pattern_word(seed, vector);
        memory[vector] = make_ulonglong2(word, ~word);
    }
}
