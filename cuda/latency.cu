// Latency of dependent loads, alone and beside an adjustable load on the rest of the GPU.
//   ring [words] uint32           index of the word visited after this one; a closed cycle
//   first_word uint32             where the chase starts
//   num_warm_hops uint32          loads before the timed ones: what fits a cache is in it by then
//   num_hops uint32               loads to time
//   out [3] uint64                elapsed cycles of the SM, elapsed nanoseconds, last word
//   launch  pointer_chase and loaded_chase_reset: 1 block x 1 thread
// Besides, for the chase under load:
//   board [10] uint64             device memory: 0-2 as `out`; 3 the chaser's SM + 1 once it runs; 4 set to
//                                 1 once it has ended; 5, 6 vectors that the streamers read and wrote; 7, 8
//                                 nanoseconds on the timer at their first start and last end; 9 XOR of the
//                                 words that they read
//   load [num_vectors] ulonglong2 what they stream through, in chunks of 4 vectors per thread
//   num_vectors uint64            at least one chunk per streaming block
//   write_sixteenths uint32       of 16 chunks, how many are written; the others are read
//   pause_ns uint32               rest of each warp after each chunk; 0 is none
//   timeout_ns uint64             longest wait for the chaser to start; after it a streamer gives up
//   launch  loaded_chase: 1-D blocks of whole warps, right after loaded_chase_reset in one stream. Block 0
//           chases with one thread; the others stream until it has ended, save those on its SM, which leave
//           it at once.
// The chase may run through pinned host memory too; the board is polled and must be the device's.
#include "common.cuh"

static constexpr unsigned int CHASER_SM = 3, HAS_ENDED = 4, VECTORS_READ = 5, VECTORS_WRITTEN = 6,
                              FIRST_START_NS = 7, LAST_END_NS = 8, XOR_OF_READS = 9, BOARD_WORDS = 10;
static constexpr unsigned int VECTORS_PER_THREAD = 4;

__device__ inline void chase(const unsigned int* ring, volatile unsigned long long* out, unsigned int word,
                             unsigned int num_warm_hops, unsigned int num_hops) {
    for (unsigned int hop = 0; hop < num_warm_hops; ++hop) word = ring[word];
    out[2] = word;  // the store waits for the last load, and the clock is read after the store
    const unsigned long long start_cycles = clock_cycles();
    const unsigned long long start_ns = timer_ns();
    for (unsigned int hop = 0; hop < num_hops; ++hop) word = ring[word];
    out[2] = word;
    const unsigned long long end_cycles = clock_cycles();
    const unsigned long long end_ns = timer_ns();
    out[0] = end_cycles - start_cycles;
    out[1] = end_ns - start_ns;
}

extern "C" __global__ void pointer_chase(const unsigned int* ring, unsigned long long* out,
                                         unsigned int first_word, unsigned int num_warm_hops,
                                         unsigned int num_hops) {
    chase(ring, out, first_word, num_warm_hops, num_hops);
}

extern "C" __global__ void loaded_chase_reset(unsigned long long* board) {
    for (unsigned int i = 0; i < BOARD_WORDS; ++i) board[i] = i == FIRST_START_NS ? ~0ull : 0ull;
}

// Read or write chunk after chunk until the chaser has ended, and at least one. Reads and writes alternate
// as evenly as the mix allows, and warps begin at different points of it, so that the mix is the same at
// every moment.
__device__ inline void stream_until_ended(ulonglong2* load, unsigned long long* board,
                                          unsigned long long num_chunks, unsigned int write_sixteenths,
                                          unsigned int pause_ns) {
    const volatile unsigned long long* has_ended = board + HAS_ENDED;
    unsigned long long chunk = blockIdx.x - 1, num_read = 0, num_written = 0, sum = 0;
    unsigned int write_credit = (blockIdx.x + threadIdx.x / 32) % 16;
    bool is_last;
    do {
        is_last = *has_ended != 0;
        ulonglong2* mine = load + chunk * VECTORS_PER_THREAD * blockDim.x + threadIdx.x;
        write_credit += write_sixteenths;
        if (write_credit >= 16) {
            write_credit -= 16;
            const unsigned long long word = pattern_word(chunk, threadIdx.x);
#pragma unroll
            for (unsigned int k = 0; k < VECTORS_PER_THREAD; ++k)
                mine[k * blockDim.x] = make_ulonglong2(word, ~word);
            num_written += VECTORS_PER_THREAD;
        } else {
            ulonglong2 values[VECTORS_PER_THREAD];
#pragma unroll
            for (unsigned int k = 0; k < VECTORS_PER_THREAD; ++k) values[k] = mine[k * blockDim.x];
#pragma unroll
            for (unsigned int k = 0; k < VECTORS_PER_THREAD; ++k) sum ^= values[k].x ^ values[k].y;
            num_read += VECTORS_PER_THREAD;
        }
        chunk += gridDim.x - 1;
        if (chunk >= num_chunks) chunk -= num_chunks;
        if (pause_ns != 0) rest_ns(pause_ns);
    } while (!is_last);
    atomicAdd(&board[VECTORS_READ], num_read);
    atomicAdd(&board[VECTORS_WRITTEN], num_written);
    atomicXor(&board[XOR_OF_READS], sum);
}

extern "C" __global__ void loaded_chase(const unsigned int* ring, ulonglong2* load,
                                        unsigned long long* board, unsigned int first_word,
                                        unsigned int num_warm_hops, unsigned int num_hops,
                                        unsigned long long num_vectors, unsigned int write_sixteenths,
                                        unsigned int pause_ns, unsigned long long timeout_ns) {
    volatile unsigned long long* seen = board;
    if (blockIdx.x == 0) {
        if (threadIdx.x != 0) return;
        seen[CHASER_SM] = sm_index() + 1;
        chase(ring, board, first_word, num_warm_hops, num_hops);
        seen[HAS_ENDED] = 1;
        return;
    }
    const unsigned long long waiting_ns = timer_ns();
    while (seen[CHASER_SM] == 0)
        if (timer_ns() - waiting_ns > timeout_ns) return;
    if (seen[CHASER_SM] == sm_index() + 1) return;
    const unsigned long long num_chunks = num_vectors / (VECTORS_PER_THREAD * blockDim.x);
    if (num_chunks < gridDim.x - 1) return;
    atomicMin(&board[FIRST_START_NS], timer_ns());
    stream_until_ended(load, board, num_chunks, write_sixteenths, pause_ns);
    atomicMax(&board[LAST_END_NS], timer_ns());
}
