// Hold a stream until the host opens a latch, so that streams of many GPUs start together.
//   flag [1] uint32        pinned host memory; the latch is open once it is not 0
//   outcome [1] uint32     pinned host memory; set to 1 when the latch was seen open, 2 at the timeout
//   timeout_ns uint64      longest wait on the device's timer; after it the stream goes on by itself
//   launch  1 block x 1 thread, first in each stream that is held
// Work behind a held stream fills the driver's queue: keep it under 300 copies, and load every kernel
// before the latch closes, since loading waits for the device and would wait for ever.
#include "common.cuh"

extern "C" __global__ void latch_wait(const volatile unsigned int* flag, volatile unsigned int* outcome,
                                      unsigned long long timeout_ns) {
    const unsigned long long start_ns = timer_ns();
    while (*flag == 0) {
        if (timer_ns() - start_ns > timeout_ns) {
            *outcome = 2;
            return;
        }
    }
    *outcome = 1;
}
