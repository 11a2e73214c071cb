// The gated dilated layer of a WaveNet on CUDA: what its kernels are called with. All pointers are the device's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.h"

namespace wavegen::cuda {

enum class Element { kFp32, kBf16, kFp64 };

struct LayerShape {
    int64_t batch, length, residual, gate, skip;
    int64_t conditioning;  // channels; 0: none
    int64_t width, dilation;
    bool causal;
};

// Null stands for an absent optional tensor.
struct LayerForward {
    LayerShape shape;
    const void *x, *conditioning, *dilated_weight, *dilated_bias, *conditioning_weight, *output_weight, *output_bias;
    void *residual, *skip;
    void* workspace;
};

struct LayerBackward {
    LayerShape shape;
    const void *d_residual, *d_skip, *x, *conditioning, *dilated_weight, *dilated_bias, *conditioning_weight;
    const void* output_weight;
    void *d_x, *d_conditioning, *d_dilated_weight, *d_dilated_bias, *d_conditioning_weight, *d_output_weight;
    void* d_output_bias;
    void* workspace;
};

// Bytes of workspace, aligned to 256.
size_t forward_workspace(const LayerShape& shape, Element element);
size_t backward_workspace(const LayerShape& shape, Element element);

// Enqueue on the stream. 0, or a CUDA error.
int launch_forward(const LayerForward& call, Element element, void* stream);
int launch_backward(const LayerBackward& call, Element element, void* stream);

}  // namespace wavegen::cuda
