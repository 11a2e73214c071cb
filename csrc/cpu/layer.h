// The gated dilated layer of a WaveNet: what its kernels are called with.
//
// A sequence is cut into tiles of time. A caller packs the weights once, then lets workers run over tiles; each worker
// has a scratch of its own in the workspace, which stays in its cache. The gates are recomputed in the backward pass,
// so nothing of full length is kept but the gradient of the pre-activations, for a few sequences ("chunk") at a time.
#pragma once

#include <cstdint>

namespace wavegen {

struct LayerShape {
    int64_t batch, length, residual, gate, skip;
    int64_t conditioning;  // channels; 0: none
    int64_t width, dilation;
    bool causal;
};

// How a call is divided, and the bytes of each part of its workspace, which starts at a multiple of 64:
// packed weights | scratch of every worker | partial sums of every range | d_pre of a chunk.
struct LayerPlan {
    int64_t tile, tiles;    // samples a tile; tiles a sequence
    int64_t chunk, ranges;  // sequences a chunk; runs of tiles of a chunk, each summing its own weight gradients
    int64_t weight_bytes, worker_bytes, range_bytes, chunk_bytes;
};

template <typename T>
struct LayerForward {
    LayerShape shape;
    LayerPlan plan;
    const T *x, *conditioning, *dilated_weight, *dilated_bias, *conditioning_weight, *output_weight, *output_bias;
    T *residual, *skip;
    uint8_t* workspace;
    int64_t workers;
};

template <typename T>
struct LayerBackward {
    LayerShape shape;
    LayerPlan plan;
    const T *d_residual, *d_skip, *x, *conditioning, *dilated_weight, *dilated_bias, *conditioning_weight;
    const T* output_weight;
    T *d_x, *d_conditioning, *d_dilated_weight, *d_dilated_bias, *d_conditioning_weight, *d_output_weight;
    T* d_output_bias;
    uint8_t* workspace;
    int64_t workers;
};

// T: float, double, or uint16_t for bf16. Null stands for an absent optional tensor and its gradient.
template <typename T>
struct LayerKernels {
    LayerPlan (*forward_plan)(const LayerShape&);
    void (*forward_prepare)(const LayerForward<T>&);
    void (*forward)(const LayerForward<T>&, int64_t worker, int64_t first_tile, int64_t last_tile);  // of batch * tiles

    LayerPlan (*backward_plan)(const LayerShape&);
    void (*backward_prepare)(const LayerBackward<T>&);
    // For each chunk of sequences, starting at first_sequence: all ranges, and when they are done all tiles.
    void (*backward_gates)(const LayerBackward<T>&, int64_t worker, int64_t first_sequence, int64_t first_range,
                           int64_t last_range);
    void (*backward_inputs)(const LayerBackward<T>&, int64_t worker, int64_t first_sequence, int64_t first_tile,
                            int64_t last_tile);
    // At the end: sums the ranges, in order. Rows: residual * width + conditioning + 1 + residual + skip.
    void (*backward_weights)(const LayerBackward<T>&, int64_t first_row, int64_t last_row);
};

}  // namespace wavegen
