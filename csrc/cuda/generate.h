// WaveNet's autoregressive generation on CUDA: limits, how packed weights and state are laid out, one call.
//
// Channels are padded to 32 with zeros. A matrix lies in fragments: for 16 rows and 32 bytes of columns, the 512 bytes
// in the order in which the 32 lanes of a warp hand them to the tensor core (fp32: 16 rows × 4 columns, by rows). The
// rows of a dilated convolution alternate, 8 of the filter and the 8 of the gate that belong to them, so that a thread
// holds both. Vectors of 8 streams that a product reads lie stream by stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.h"

namespace wavegen::cuda {

enum class Format : int64_t { kFp32 = 0, kBf16 = 1, kInt8 = 2 };
enum class Output : int64_t { kSoftmax = 0, kGaussian = 1, kLogistics = 2 };

// The range of sizes; wavegen/ops/wavenet_cuda.py states the same.
constexpr int64_t kMaxGated = 256;     // residual, gate
constexpr int64_t kMaxSummed = 1024;   // skip, head, outputs
constexpr int64_t kMaxLayers = 256;
constexpr int64_t kMaxDilation = 1 << 20;
constexpr int64_t kMaxHop = 1 << 16;

constexpr int kPad = 32;
constexpr int kColumns = 8;      // streams that go through the network together: the width of a tensor core's product
constexpr int kMaxCluster = 16;
constexpr int kMaxTiles = 4;     // groups of streams in flight in one cluster
constexpr int kThreads = 256;    // one warp for each column

constexpr int64_t kWeightsMagic = 0x3157444347455657;  // "WVEGCDW1"
constexpr int64_t kStateMagic = 0x3153444347455657;    // "WVEGCDS1"
constexpr int64_t kHeaderFields = 16;

WAVEGEN_HOST_DEVICE constexpr int64_t padded(int64_t channels) { return (channels + kPad - 1) / kPad * kPad; }

// The header of packed weights, as int64: magic, total bytes, then these.
struct Sizes {
    Format format;
    Output output;
    int64_t residual, gate, skip, head, outputs, width, layers, hop;
    int64_t slots;  // of one stream's rings, over all layers
};

struct WeightsHeader {
    int64_t magic, bytes;
    Sizes sizes;
    int64_t unused[kHeaderFields - 2 - 11];
};
static_assert(sizeof(WeightsHeader) == kHeaderFields * sizeof(int64_t));

// The header of a state; the last value of each stream (NaN: it has ended) and then the rings of each stream follow.
struct StateHeader {
    int64_t magic, bytes, streams, time, slots, slot_bytes, unused[2];
};

// One layer's row in the table behind the weights' header. A ring has a power of two of slots.
struct LayerRow {
    int64_t dilation, ring_offset, ring_slots;
};

WAVEGEN_HOST_DEVICE constexpr int64_t element_bytes(Format f) {
    return f == Format::kFp32 ? 4 : f == Format::kBf16 ? 2 : 1;
}
WAVEGEN_HOST_DEVICE constexpr int64_t activation_bytes(Format f) { return f == Format::kFp32 ? 4 : 2; }
WAVEGEN_HOST_DEVICE constexpr int64_t aligned(int64_t bytes) { return (bytes + 127) / 128 * 128; }

// A vector of `channels` (padded) activations; 16 bytes at the end hold an int8 network's scale and spread the banks.
WAVEGEN_HOST_DEVICE constexpr int64_t vector_bytes(Format f, int64_t channels) {
    return channels * activation_bytes(f) + 16;
}
WAVEGEN_HOST_DEVICE constexpr int64_t slot_bytes(Format f, int64_t residual) {
    return padded(residual) * activation_bytes(f) + (f == Format::kInt8 ? 16 : 0);
}

// Bias of each row where there is one, scale of each row for int8, then the fragments.
constexpr int64_t matrix_bytes(Format f, int64_t rows, int64_t columns, bool bias) {
    return (bias ? rows * 4 : 0) + (f == Format::kInt8 ? rows * 4 : 0) + rows * columns * element_bytes(f);
}

// Where the parts of packed weights begin. A unit is a layer or one of the head's two matrices.
struct Layout {
    int64_t residual, gate, skip, head, outputs;  // padded
    int64_t rows, input, interpolation, skip_bias, units;
    int64_t current, older, skip_matrix, residual_matrix, layer;  // bytes
    int64_t head1, head2, total;
};

constexpr Layout lay_out(const Sizes& s) {
    Layout a = {};
    a.residual = padded(s.residual), a.gate = padded(s.gate), a.skip = padded(s.skip), a.head = padded(s.head);
    a.outputs = padded(s.outputs);
    a.rows = kHeaderFields * 8;
    a.input = a.rows + aligned(s.layers * int64_t(sizeof(LayerRow)));
    a.interpolation = a.input + (s.output == Output::kSoftmax ? s.outputs : 2) * a.residual * 4;
    a.skip_bias = a.interpolation + aligned(3 * s.hop * 4);
    a.units = a.skip_bias + a.skip * 4;
    a.current = matrix_bytes(s.format, 2 * a.gate, a.residual, true);
    a.older = matrix_bytes(s.format, 2 * a.gate, a.residual, false);
    a.skip_matrix = matrix_bytes(s.format, a.skip, a.gate, false);
    a.residual_matrix = matrix_bytes(s.format, a.residual, a.gate, true);
    a.layer = a.current + (s.width - 1) * a.older + a.skip_matrix + a.residual_matrix;
    a.head1 = a.units + s.layers * a.layer - a.residual_matrix;
    a.head2 = a.head1 + matrix_bytes(s.format, a.head, a.skip, true);
    a.total = a.head2 + matrix_bytes(s.format, a.outputs, a.head, true);
    return a;
}

inline int64_t state_bytes(const Sizes& s, int64_t streams) {
    return int64_t(sizeof(StateHeader)) + aligned(4 * streams) + streams * s.slots * slot_bytes(s.format, s.residual);
}

// One call: `samples` steps of every stream from the state's time on. All pointers are the device's.
struct GenerateCall {
    Sizes sizes;
    const uint8_t* weights;
    uint8_t* state;
    int64_t time;               // samples made before
    const float* conditioning;  // [streams][frames][layers][2 gate], from the frame before the first sample's on
    const float* uniforms;      // [streams][samples][1, or 2 for logistics]
    const int64_t* lengths;     // [streams]
    const float* forced;        // [streams][samples], or null
    float* values;              // [streams][samples], zero
    float* parameters;          // [streams][samples][outputs], zero, or null
    int64_t streams, samples, frames;
    float temperature, top_p;
    int top_k;
};

// A search for values that do not lie strictly between low and high, or are not whole where they must be.
struct RangeCheck {
    const float* values;
    int64_t count;
    float low, high;
    bool whole;
    int32_t* found;  // the device's; set to 1 where there is such a value
};

// How a call is spread: the network over the blocks of a cluster (one block: the grid variant), streams over clusters.
struct Plan {
    int cluster = 1;
    int tiles = 1;           // groups of streams in flight in a cluster
    int columns = kColumns;  // streams in a group
    int group = 1;           // layers whose older taps are summed ahead of need
    int first_unit[kMaxCluster + 1] = {};
    int64_t clusters = 0;
    size_t shared_bytes = 0;
};

// Which variant: 0 chooses; 1 the grid; 2, 4, 8, 16 a cluster of so many blocks.
// Returns null and fills `plan`, or a reason why the call cannot run on this device.
const char* plan_generate(const Sizes& sizes, int64_t streams, int variant, Plan* plan);

// Enqueue on the stream. 0, or a CUDA error.
int launch_check(const RangeCheck& check, void* stream);
int launch_generate(const GenerateCall& call, const Plan& plan, void* stream);

}  // namespace wavegen::cuda
