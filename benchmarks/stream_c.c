// STREAM's kernels, chains of multiply-adds and a pointer chase, to compare topoprobe's against.
// Compiled by stream_vs_c.py. Arrays are 64-byte aligned; sizes are multiples of 16 elements.
#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Bind the calling thread and the OpenMP workers that it will use, one CPU each.
void pin(const int *cpus, int num_threads) {
#pragma omp parallel for schedule(static, 1) num_threads(num_threads)
    for (int i = 0; i < num_threads; i++) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpus[i], &set);
        sched_setaffinity(0, sizeof set, &set);
    }
}

// Do all passes on all threads, nobody waiting between passes; return the seconds of one pass, from
// the moment when every thread is awake to the end of the last.
#define TIMED(step, statement) \
    double start = 0; \
    _Pragma("omp parallel num_threads(num_threads)") { \
        _Pragma("omp barrier") \
        _Pragma("omp master") start = omp_get_wtime(); \
        for (int pass = 0; pass < num_passes; pass++) { \
            _Pragma("omp for schedule(static) nowait") \
            for (ptrdiff_t i = 0; i < n; i += step) { statement; } \
        } \
    } \
    return (omp_get_wtime() - start) / num_passes;
#define ARGUMENTS \
    double *restrict out, const double *restrict x, const double *restrict y, double s, \
    ptrdiff_t n, int num_passes, int num_threads

double copy(ARGUMENTS) { TIMED(1, out[i] = x[i]) }
double scale(ARGUMENTS) { TIMED(1, out[i] = s * x[i]) }
double add(ARGUMENTS) { TIMED(1, out[i] = x[i] + y[i]) }
double triad(ARGUMENTS) { TIMED(1, out[i] = x[i] + s * y[i]) }

// Stores past the cache, `lanes` doubles at a time.
#define NONTEMPORAL(lanes, prefix, splat, fmadd) \
    double copy_nt##lanes(ARGUMENTS) { \
        TIMED(lanes, prefix##_stream_pd(out + i, prefix##_load_pd(x + i))) \
    } \
    double scale_nt##lanes(ARGUMENTS) { \
        TIMED(lanes, prefix##_stream_pd(out + i, prefix##_mul_pd(splat(s), prefix##_load_pd(x + i)))) \
    } \
    double add_nt##lanes(ARGUMENTS) { \
        TIMED(lanes, prefix##_stream_pd( \
            out + i, prefix##_add_pd(prefix##_load_pd(x + i), prefix##_load_pd(y + i)))) \
    } \
    double triad_nt##lanes(ARGUMENTS) { \
        TIMED(lanes, prefix##_stream_pd( \
            out + i, fmadd(splat(s), prefix##_load_pd(y + i), prefix##_load_pd(x + i)))) \
    }
#if defined(__FMA__)
NONTEMPORAL(4, _mm256, _mm256_set1_pd, _mm256_fmadd_pd)
#endif
#if defined(__AVX512F__)
NONTEMPORAL(8, _mm512, _mm512_set1_pd, _mm512_fmadd_pd)
#endif

// x = x * scale + shift on independent chains; -O3 contracts it to a fused multiply-add.
#define CHAINS 16
#define MULTIPLY_ADD(name, type, bytes) \
    typedef type name##_vector __attribute__((vector_size(bytes))); \
    double name(const type *start, double scale_, double shift_, int64_t rounds, int num_threads) { \
        double total = 0; \
        _Pragma("omp parallel num_threads(num_threads) reduction(+ : total)") { \
            type a = (type)scale_, b = (type)shift_; \
            name##_vector x[CHAINS]; \
            for (int k = 0; k < CHAINS; k++) x[k] = *((const name##_vector *)start + k); \
            for (int64_t i = 0; i < rounds; i++) \
                _Pragma("GCC unroll 16") for (int k = 0; k < CHAINS; k++) x[k] = x[k] * a + b; \
            for (int k = 0; k < CHAINS; k++) \
                for (unsigned j = 0; j < bytes / sizeof(type); j++) total += x[k][j]; \
        } \
        return total; \
    }
MULTIPLY_ADD(fma_fp32_32, float, 32)
MULTIPLY_ADD(fma_fp64_32, double, 32)
MULTIPLY_ADD(fma_fp32_64, float, 64)
MULTIPLY_ADD(fma_fp64_64, double, 64)

uint64_t chase(const uint64_t *ring, uint64_t slot, int64_t num_hops) {
    for (int64_t i = 0; i < num_hops; i++) slot = ring[slot];
    return slot;
}
