// The calls of the CUDA runtime and driver that torch makes for tensors without memory: all succeed, none acts.
// Loaded before torch under the driver's name, it lets autograd ask for streams and events on a machine without a GPU.
#include <stddef.h>

int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaSetDevice(int device) { return 0; }
int cudaGetDeviceProperties(void *properties, int device) { return 0; }
int cudaGetDeviceProperties_v2(void *properties, int device) { return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) { *value = 0; return 0; }
int cudaDeviceCanAccessPeer(int *can, int device, int peer) { *can = 0; return 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = *greatest = 0; return 0; }
int cudaDeviceSynchronize(void) { return 0; }
int cudaDriverGetVersion(int *version) { *version = 99000; return 0; }
int cudaGetLastError(void) { return 0; }
int cudaPeekAtLastError(void) { return 0; }
int cudaMemGetInfo(size_t *available, size_t *total) { *available = *total = (size_t)1 << 40; return 0; }
int cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) { *stream = (void *)8; return 0; }
int cudaStreamGetPriority(void *stream, int *priority) { *priority = 0; return 0; }
int cudaStreamGetCaptureInfo(void *stream, int *status) { *status = 0; return 0; }
int cudaStreamGetCaptureInfo_v2(void *stream, int *status) { *status = 0; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cudaStreamQuery(void *stream) { return 0; }
int cudaStreamSynchronize(void *stream) { return 0; }
int cudaStreamWaitEvent(void *stream, void *event, unsigned flags) { return 0; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { *event = (void *)8; return 0; }
int cudaEventDestroy(void *event) { return 0; }
int cudaEventQuery(void *event) { return 0; }
int cudaEventRecord(void *event, void *stream) { return 0; }
int cudaEventRecordWithFlags(void *event, void *stream, unsigned flags) { return 0; }
int cudaEventSynchronize(void *event) { return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
