// Sustained bandwidth of device memory, by the STREAM kernels and by pure reading and writing.
//   a, b, c [num_pairs] double2   operands, 16 bytes each, so that every access is a full 16-byte one
//   num_pairs uint64              length of each array in double2
//   scalar double                 the factor of scale and triad; the value of write
//   sums [threads] uint64         read only: bitwise XOR of the words that each thread read
//   launch  1-D, any number of blocks and threads (a grid-stride loop); 8 blocks of 256 per SM fill it
// Bytes per element pair: copy, scale 32 (one read, one written); add, triad 48; read, write 16.
#include "common.cuh"

extern "C" __global__ void stream_copy(double2* c, const double2* a, unsigned long long num_pairs) {
    for (unsigned long long i = grid_thread(); i < num_pairs; i += grid_num_threads()) c[i] = a[i];
}

extern "C" __global__ void stream_scale(double2* b, const double2* c, double scalar,
                                        unsigned long long num_pairs) {
    for (unsigned long long i = grid_thread(); i < num_pairs; i += grid_num_threads()) {
        const double2 value = c[i];
        b[i] = make_double2(scalar * value.x, scalar * value.y);
    }
}

extern "C" __global__ void stream_add(double2* c, const double2* a, const double2* b,
                                      unsigned long long num_pairs) {
    for (unsigned long long i = grid_thread(); i < num_pairs; i += grid_num_threads()) {
        const double2 left = a[i];
        const double2 right = b[i];
        c[i] = make_double2(left.x + right.x, left.y + right.y);
    }
}

extern "C" __global__ void stream_triad(double2* a, const double2* b, const double2* c, double scalar,
                                        unsigned long long num_pairs) {
    for (unsigned long long i = grid_thread(); i < num_pairs; i += grid_num_threads()) {
        const double2 left = b[i];
        const double2 right = c[i];
        a[i] = make_double2(left.x + scalar * right.x, left.y + scalar * right.y);
    }
}

// Every thread stores its XOR (8 bytes for the many that it read), which keeps the loads alive without
// atomics and lets the host check that every word was read exactly once.
extern "C" __global__ void stream_read(const ulonglong2* a, unsigned long long* sums,
                                       unsigned long long num_pairs) {
    unsigned long long sum = 0;
    for (unsigned long long i = grid_thread(); i < num_pairs; i += grid_num_threads()) {
        const ulonglong2 value = a[i];
        sum ^= value.x ^ value.y;
    }
    sums[grid_thread()] = sum;
}

extern "C" __global__ void stream_write(double2* a, double scalar, unsigned long long num_pairs) {
    const double2 value = make_double2(scalar, scalar);
    for (unsigned long long i = grid_thread(); i < num_pairs; i += grid_num_threads()) a[i] = value;
}
