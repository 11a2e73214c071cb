// What CUDA's compiler and a plain C++ compiler read differently.
#pragma once

#if defined(__CUDACC__)
#define WAVEGEN_HOST_DEVICE __host__ __device__
#define WAVEGEN_DEVICE __device__ __forceinline__
#define WAVEGEN_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define WAVEGEN_PARAMETER const __grid_constant__
#else
#define WAVEGEN_HOST_DEVICE
#define WAVEGEN_DEVICE inline
#define WAVEGEN_KERNEL(threads, blocks) inline void
#define WAVEGEN_PARAMETER const
#endif
