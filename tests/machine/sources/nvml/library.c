// A stand-in for libnvidia-ml.so.1 with two GPUs, to put the real binding's calls to the test.
// Structures and signatures are those of NVIDIA's nvml.h; each fills its fields with values that
// differ from each other, so that a shifted or swapped field shows.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Return;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };

static int devices[2], part;

static int index_of(const void* device) {
    return device == &devices[0] ? 0 : device == &devices[1] ? 1 : -1;
}
#define CHECK(device) if (index_of(device) < 0) return INVALID_ARGUMENT

Return nvmlInitWithFlags(unsigned flags) {
    const char* code = getenv("STAND_IN_INIT");
    return flags ? INVALID_ARGUMENT : code ? atoi(code) : SUCCESS;
}
const char* nvmlErrorString(Return code) { return code == VERSION_MISMATCH ? "Version" : "Other"; }
Return nvmlSystemGetDriverVersion(char* text, unsigned size) {
    return snprintf(text, size, "580.105.08") < (int)size ? SUCCESS : INSUFFICIENT_SIZE;
}
Return nvmlDeviceGetCount_v2(unsigned* count) { *count = 3; return SUCCESS; }
Return nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
    if (index == 2) return GPU_IS_LOST;
    if (index > 2) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}
Return nvmlDeviceGetHandleByPciBusId_v2(const char* address, void** device) {
    if (strcmp(address, "0000:64:00.0")) return NOT_FOUND;
    *device = &devices[1];
    return SUCCESS;
}

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} PciInfo;
Return nvmlDeviceGetPciInfo_v3(void* device, PciInfo* pci) {
    CHECK(device);
    unsigned bus = index_of(device) ? 0x64 : 0x53;
    *pci = (PciInfo){.domain = 0, .bus = bus, .pciDeviceId = 0x233010DE, .pciSubSystemId = 7};
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", bus);
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", bus);
    return SUCCESS;
}
Return nvmlDeviceGetNvLinkRemotePciInfo_v2(void* device, unsigned link, PciInfo* pci) {
    CHECK(device);
    *pci = (PciInfo){.domain = 0xFFFFFFFF};
    strcpy(pci->busId, "FFFFFFFF:FF:FF.0");
    return link < 18 ? SUCCESS : INVALID_ARGUMENT;
}

Return nvmlDeviceGetName(void* device, char* text, unsigned size) {
    if (device == &part) { snprintf(text, size, "NVIDIA H100 MIG 1g.10gb"); return SUCCESS; }
    CHECK(device);
    snprintf(text, size, "NVIDIA H100 80GB HBM3");
    return SUCCESS;
}
Return nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
    CHECK(device);
    *major = 9;
    *minor = 0;
    return SUCCESS;
}

typedef struct { unsigned long long total, free, used; } Memory;
Return nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
    CHECK(device);
    *memory = (Memory){85520809984ULL, 2, 3};
    return SUCCESS;
}
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
Return nvmlDeviceGetMemoryInfo_v2(void* device, MemoryV2* memory) {
    CHECK(device);
    if (memory->version != (sizeof *memory | 2 << 24)) return VERSION_MISMATCH;
    memory->total = 85520809984ULL;
    memory->reserved = 4;
    memory->free = 5;
    memory->used = 6;
    return SUCCESS;
}
Return nvmlDeviceGetBAR1MemoryInfo(void* device, Memory* memory) {
    CHECK(device);
    *memory = (Memory){137438953472ULL, 8, 9};
    return SUCCESS;
}

typedef union {
    double d;
    unsigned ui;
    unsigned long ul;
    unsigned long long ull;
    long long sll;
    int si;
    unsigned short us;
} Value;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType;
    Return nvmlReturn;
    Value value;
} FieldValue;
Return nvmlDeviceGetFieldValues(void* device, int count, FieldValue* fields) {
    CHECK(device);
    for (int i = 0; i < count; ++i) {
        FieldValue* field = &fields[i];
        field->timestamp = 123;
        field->nvmlReturn = SUCCESS;
        switch (field->fieldId) {
        case 91: field->valueType = 1; field->value.ui = 18; break;
        case 94: field->valueType = 3; field->value.ull = 1ULL << 40; break;
        case 171: field->valueType = 1; field->value.ui = field->scopeId != 3; break;
        case 82: field->valueType = 5; field->value.si = -7; break;
        case 140: field->valueType = 0; field->value.d = 0.5; break;
        default: field->nvmlReturn = NOT_SUPPORTED; field->value.ull = 99;
        }
    }
    return SUCCESS;
}

typedef struct {
    unsigned version;
    unsigned char clusterUuid[16];
    Return status;
    unsigned cliqueId;
    unsigned char state;
    unsigned healthMask;
} FabricV2;
typedef struct { FabricV2 v2; unsigned char healthSummary; } FabricV3;
Return nvmlDeviceGetGpuFabricInfoV(void* device, FabricV2* fabric) {
    CHECK(device);
    int is_new = index_of(device) == 1;  // the other answers as a driver from before version 3
    if (is_new && fabric->version != (sizeof(FabricV3) | 3 << 24)) return INVALID_ARGUMENT;
    if (!is_new && fabric->version != (sizeof(FabricV2) | 2 << 24)) return VERSION_MISMATCH;
    for (int i = 0; i < 16; ++i) fabric->clusterUuid[i] = i;
    fabric->status = 10;
    fabric->cliqueId = 11;
    fabric->state = 3;
    fabric->healthMask = 0x2A;
    if (is_new) ((FabricV3*)fabric)->healthSummary = 1;
    return SUCCESS;
}

typedef struct {
    unsigned version;
    unsigned char ibGuid[16], chassisSerialNumber[16];
    unsigned char slotNumber, trayIndex, hostId, peerType, moduleId;
} PlatformV2;
Return nvmlDeviceGetPlatformInfo(void* device, PlatformV2* platform) {
    CHECK(device);
    if (platform->version != (sizeof *platform | 2 << 24)) return VERSION_MISMATCH;
    memset(platform->ibGuid, 0xFE, 16);
    memset(platform->chassisSerialNumber, '9', 16);
    platform->slotNumber = 14;
    platform->trayIndex = 200;
    platform->hostId = 0;
    platform->peerType = 1;
    platform->moduleId = 2;
    return SUCCESS;
}

Return nvmlDeviceGetC2cModeInfoV(void* device, unsigned* is_enabled) {
    CHECK(device);
    *is_enabled = 1;
    return SUCCESS;
}
typedef struct { unsigned version, value; } AddressingMode;
Return nvmlDeviceGetAddressingMode(void* device, AddressingMode* mode) {
    CHECK(device);
    if (mode->version != (sizeof *mode | 1 << 24)) return VERSION_MISMATCH;
    mode->value = 2;
    return SUCCESS;
}
Return nvmlDeviceGetMemoryAffinity(
    void* device, unsigned size, unsigned long* nodes, unsigned scope) {
    CHECK(device);
    memset(nodes, 0, size * sizeof *nodes);
    nodes[1] = scope ? 2 : 1;
    return SUCCESS;
}
Return nvmlDeviceGetP2PStatus(void* one, void* other, unsigned access, unsigned* status) {
    CHECK(one);
    CHECK(other);
    *status = access;
    return SUCCESS;
}
Return nvmlDeviceGetMigMode(void* device, unsigned* current, unsigned* pending) {
    CHECK(device);
    *current = 1;
    *pending = 0;
    return SUCCESS;
}
Return nvmlDeviceGetMigDeviceHandleByIndex(void* device, unsigned index, void** mig) {
    CHECK(device);
    if (index) return NOT_FOUND;
    *mig = &part;
    return SUCCESS;
}
typedef struct { unsigned gpu, memory; } Utilization;
Return nvmlDeviceGetUtilizationRates(void* device, Utilization* rates) {
    CHECK(device);
    *rates = (Utilization){88, 40};
    return SUCCESS;
}
typedef struct {
    unsigned pid;
    unsigned long long usedGpuMemory;
    unsigned gpuInstanceId, computeInstanceId;
} Process;
Return nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, Process* processes) {
    CHECK(device);
    if (*count < 1) { *count = 1; return INSUFFICIENT_SIZE; }
    *count = 1;
    processes[0] = (Process){4242, 1 << 20, 0, 0};
    return SUCCESS;
}
