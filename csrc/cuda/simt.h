// The machine as the kernels see it: threads, warps, clusters, tensor cores. Kernels touch none of these but through
// here, so that the tests can run the same source on a CPU, where emulation.h stands in for CUDA.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#endif

namespace wavegen::cuda {

constexpr int kWarp = 32;

struct alignas(16) Words {
    uint32_t word[4];
};

struct alignas(16) Quad {
    float value[4];
};

// How a kernel is launched: blocks of `cluster` consecutive blocks share a thread-block cluster (1: none).
struct Launch {
    int64_t blocks;
    int cluster;
    int threads;
    size_t shared_bytes;
    void* stream;
};

}  // namespace wavegen::cuda

#if !defined(__CUDACC__)
#include "emulation.h"
#else

namespace wavegen::cuda::simt {

WAVEGEN_DEVICE int thread() { return int(threadIdx.x); }
WAVEGEN_DEVICE int lane() { return int(threadIdx.x) % kWarp; }
WAVEGEN_DEVICE int warp() { return int(threadIdx.x) / kWarp; }
WAVEGEN_DEVICE int64_t block() { return int64_t(blockIdx.x); }
WAVEGEN_DEVICE void sync_block() { __syncthreads(); }
WAVEGEN_DEVICE void sync_warp() { __syncwarp(); }

WAVEGEN_DEVICE uint8_t* shared_memory() {
    extern __shared__ __align__(128) uint8_t memory[];
    return memory;
}

template <typename T>
WAVEGEN_DEVICE T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename T>
WAVEGEN_DEVICE T shuffle_up(T value, int distance) {
    return __shfl_up_sync(0xffffffffu, value, distance);
}
template <typename T>
WAVEGEN_DEVICE T shuffle(T value, int source) {
    return __shfl_sync(0xffffffffu, value, source);
}
WAVEGEN_DEVICE uint32_t ballot(bool vote) { return __ballot_sync(0xffffffffu, vote); }

WAVEGEN_DEVICE uint32_t load_word(const void* at) { return *static_cast<const uint32_t*>(at); }
WAVEGEN_DEVICE Words load_words(const void* at) {
    uint4 v = *static_cast<const uint4*>(at);
    return {{v.x, v.y, v.z, v.w}};
}
WAVEGEN_DEVICE Quad load_quad(const void* at) {
    float4 v = *static_cast<const float4*>(at);
    return {{v.x, v.y, v.z, v.w}};
}
WAVEGEN_DEVICE void store_words(void* at, const Words& v) {
    *static_cast<uint4*>(at) = make_uint4(v.word[0], v.word[1], v.word[2], v.word[3]);
}
WAVEGEN_DEVICE void store_quad(void* at, const float (&v)[4]) {
    *static_cast<float4*>(at) = make_float4(v[0], v[1], v[2], v[3]);
}

WAVEGEN_DEVICE uint16_t to_bf16(float value) { return __bfloat16_as_ushort(__float2bfloat16_rn(value)); }
WAVEGEN_DEVICE float fast_exp(float value) { return __expf(value); }

// c (16 × 8) += a (16 × 16, row-major) b (16 × 8, column-major), bf16 in, fp32 out; PTX ISA, "mma.m16n8k16".
WAVEGEN_DEVICE void mma_bf16(float (&c)[4], const Words& a, uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "r"(b0), "r"(b1));
}

// c (16 × 8) += a (16 × 32) b (32 × 8): signed weights, signed or unsigned activations.
WAVEGEN_DEVICE void mma_signed(int32_t (&c)[4], const Words& a, uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "r"(b0), "r"(b1));
}
WAVEGEN_DEVICE void mma_unsigned(int32_t (&c)[4], const Words& a, uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "r"(b0), "r"(b1));
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
WAVEGEN_DEVICE int cluster_rank() {
    uint32_t rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return int(rank);
}
WAVEGEN_DEVICE void sync_cluster() {
    asm volatile(
        "barrier.cluster.arrive.release.aligned;\n\t"
        "barrier.cluster.wait.acquire.aligned;" ::
            : "memory");
}
// The same address in the shared memory of the cluster's block `rank`.
template <typename T>
WAVEGEN_DEVICE T* remote(T* local, int rank) {
    uint64_t there;
    asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(reinterpret_cast<uint64_t>(local)), "r"(rank));
    return reinterpret_cast<T*>(there);
}
// Publishes all that this thread wrote, or knows by a barrier that others wrote, before `value` appears in the flag.
WAVEGEN_DEVICE void signal(uint32_t* flag, uint32_t value) {
    asm volatile("st.release.cluster.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}
WAVEGEN_DEVICE void await(const uint32_t* flag, uint32_t value) {
    uint32_t seen;
    do {
        asm volatile("ld.relaxed.cluster.u32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
    } while (seen != value);
    asm volatile("fence.acq_rel.cluster;" ::: "memory");
}
#else  // no clusters: a block is alone, and its own barriers order what it writes
WAVEGEN_DEVICE int cluster_rank() { return 0; }
WAVEGEN_DEVICE void sync_cluster() { __syncthreads(); }
template <typename T>
WAVEGEN_DEVICE T* remote(T* local, int) {
    return local;
}
WAVEGEN_DEVICE void signal(uint32_t* flag, uint32_t value) { *flag = value; }
WAVEGEN_DEVICE void await(const uint32_t*, uint32_t) {}
#endif

// 0, or the CUDA error of the launch.
template <typename Parameters>
int launch(void (*kernel)(Parameters), const Launch& how, const Parameters& parameters) {
    cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(how.shared_bytes));
    if (error == cudaSuccess && how.cluster > 8)
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (error != cudaSuccess) return int(error);
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(how.blocks));
    config.blockDim = dim3(unsigned(how.threads));
    config.dynamicSmemBytes = how.shared_bytes;
    config.stream = static_cast<cudaStream_t>(how.stream);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = unsigned(how.cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    config.attrs = &attribute;
    config.numAttrs = how.cluster > 1 ? 1 : 0;
    error = cudaLaunchKernelEx(&config, kernel, parameters);
    cudaError_t pending = cudaGetLastError();
    return int(error != cudaSuccess ? error : pending);
}

// How many clusters of this shape the device runs at once; 0 where it has no clusters.
template <typename Parameters>
int concurrent_clusters(void (*kernel)(Parameters), const Launch& how) {
    int device = 0, major = 0, count = 0;
    cudaFuncAttributes compiled = {};
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaError_t known = cudaFuncGetAttributes(&compiled, kernel);
    if (known != cudaSuccess || major < 9 || compiled.ptxVersion < 90) return 0;  // or built without cluster code
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(how.shared_bytes));
    if (how.cluster > 8) cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(how.cluster));
    config.blockDim = dim3(unsigned(how.threads));
    config.dynamicSmemBytes = how.shared_bytes;
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = unsigned(how.cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    config.attrs = &attribute;
    config.numAttrs = 1;
    cudaError_t error = cudaOccupancyMaxActiveClusters(&count, kernel, &config);
    cudaGetLastError();  // a shape that the device cannot run is an answer, not an error to report later
    return error == cudaSuccess ? count : 0;
}

inline size_t shared_memory_limit() {
    int device = 0, bytes = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    return size_t(bytes);
}

}  // namespace wavegen::cuda::simt
#endif
