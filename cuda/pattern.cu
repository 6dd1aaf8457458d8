// Fill memory with a pattern, and find out after a transfer what arrived.
//   words [num_words] uint64      memory to fill or to check
//   seed uint64                   pattern expected in it; word i is pattern_word(seed, i)
//   poison_seed uint64            pattern that it held before the transfer: a word that still has it was
//                                 never written, any other wrong word was corrupted
//   first_index uint64            index in the pattern of words[0], for a piece of a larger transfer
//   mantissa_word uint64          bits of a word that are mantissa in the type of number filled with
//   one_word uint64               a word of ones of that type
//   report [3] uint64             first bad index (initially all ones), words never written, corrupted
//   launch  1-D, any number of blocks and threads (a grid-stride loop)
#include "common.cuh"

extern "C" __global__ void pattern_fill(unsigned long long* words, unsigned long long seed,
                                        unsigned long long first_index, unsigned long long num_words) {
    for (unsigned long long i = grid_thread(); i < num_words; i += grid_num_threads())
        words[i] = pattern_word(seed, first_index + i);
}

// Random numbers in [1, 2) instead, one to four in a word: neither NaN nor denormal for arithmetic.
extern "C" __global__ void pattern_fill_floats(unsigned long long* words, unsigned long long seed,
                                               unsigned long long first_index, unsigned long long num_words,
                                               unsigned long long mantissa_word,
                                               unsigned long long one_word) {
    for (unsigned long long i = grid_thread(); i < num_words; i += grid_num_threads())
        words[i] = (pattern_word(seed, first_index + i) & mantissa_word) | one_word;
}

extern "C" __global__ void pattern_verify(const unsigned long long* words, unsigned long long seed,
                                          unsigned long long poison_seed, unsigned long long first_index,
                                          unsigned long long num_words, unsigned long long* report) {
    for (unsigned long long i = grid_thread(); i < num_words; i += grid_num_threads()) {
        const unsigned long long word = words[i];
        if (word == pattern_word(seed, first_index + i)) continue;
        const bool is_unwritten = word == pattern_word(poison_seed, first_index + i);
        atomicMin(&report[0], first_index + i);
        atomicAdd(&report[is_unwritten ? 1 : 2], 1ull);
    }
}
