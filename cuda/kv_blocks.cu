// Move KV-cache blocks between a paged pool and a dense staging area, through a block table.
//   pool [pool blocks * vectors_per_block] uint4       paged memory; block b starts at b * vectors_per_block
//   table [num_blocks] uint32                          block of the pool that entry i stands for
//   staging [num_blocks * vectors_per_block] uint4     the same blocks, one after the other
//   num_blocks, vectors_per_block uint32               a block's size is 16 * vectors_per_block bytes
//   launch  grid (x, y), 1-D blocks: y strides over table entries (at most 65535 of them at a time), x and
//           the threads over one block's 16-byte vectors
// A swap out is a gather followed by one large copy; a swap in is one copy followed by a scatter. The
// entries of the table of a scatter must differ.
#include "common.cuh"

extern "C" __global__ void kv_gather(uint4* staging, const uint4* pool, const unsigned int* table,
                                     unsigned int num_blocks, unsigned int vectors_per_block) {
    for (unsigned int entry = blockIdx.y; entry < num_blocks; entry += gridDim.y) {
        const uint4* source = pool + static_cast<unsigned long long>(table[entry]) * vectors_per_block;
        uint4* target = staging + static_cast<unsigned long long>(entry) * vectors_per_block;
        for (unsigned long long i = grid_thread(); i < vectors_per_block; i += grid_num_threads())
            target[i] = source[i];
    }
}

extern "C" __global__ void kv_scatter(uint4* pool, const uint4* staging, const unsigned int* table,
                                      unsigned int num_blocks, unsigned int vectors_per_block) {
    for (unsigned int entry = blockIdx.y; entry < num_blocks; entry += gridDim.y) {
        const uint4* source = staging + static_cast<unsigned long long>(entry) * vectors_per_block;
        uint4* target = pool + static_cast<unsigned long long>(table[entry]) * vectors_per_block;
        for (unsigned long long i = grid_thread(); i < vectors_per_block; i += grid_num_threads())
            target[i] = source[i];
    }
}
