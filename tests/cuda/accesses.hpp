// Count what a kernel loads and stores, buffer by buffer, and keep it from leaving them.
//
// Included before a kernel that is compiled with -fsanitize=thread: the compiler then calls one of the
// functions below at every access, as it would those of the sanitizer's library. Accesses to anything but
// the buffers of the test and the zones around them (thread indices, the stack) are the harness's own and
// are not looked at.
#pragma once

struct Watched {
    unsigned long long start, size;            // the buffer; a zone as large lies on either side
    unsigned long long loaded, stored;         // bytes
    unsigned long long num_loads, num_stores;  // accesses
    unsigned long long num_outside;            // accesses not wholly inside
};

static Watched* watched = nullptr;
static unsigned int num_watched = 0;

extern "C" ON_HOST void watch(Watched* buffers, unsigned int count) {
    watched = buffers;
    num_watched = count;
}

ON_HOST static void note(void* address, unsigned long long size, bool is_store) {
    const unsigned long long at = reinterpret_cast<unsigned long long>(address);
    for (unsigned int i = 0; i < num_watched; ++i) {
        Watched& buffer = watched[i];
        if (at + size <= buffer.start - buffer.size || at >= buffer.start + 2 * buffer.size) continue;
        if (at < buffer.start || at + size > buffer.start + buffer.size) ++buffer.num_outside;
        (is_store ? buffer.stored : buffer.loaded) += size;
        ++(is_store ? buffer.num_stores : buffer.num_loads);
    }
}

#define NOTE_ACCESSES(SIZE)                                                                            \
    extern "C" ON_HOST void __tsan_read##SIZE(void* address) { note(address, SIZE, false); }           \
    extern "C" ON_HOST void __tsan_write##SIZE(void* address) { note(address, SIZE, true); }           \
    extern "C" ON_HOST void __tsan_unaligned_read##SIZE(void* address) { note(address, SIZE, false); } \
    extern "C" ON_HOST void __tsan_unaligned_write##SIZE(void* address) { note(address, SIZE, true); }
NOTE_ACCESSES(1)
NOTE_ACCESSES(2)
NOTE_ACCESSES(4)
NOTE_ACCESSES(8)
NOTE_ACCESSES(16)

extern "C" ON_HOST void __tsan_read_range(void* address, unsigned long size) { note(address, size, false); }
extern "C" ON_HOST void __tsan_write_range(void* address, unsigned long size) { note(address, size, true); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
