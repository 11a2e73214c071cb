// WaveNet's autoregressive generation: the network's sizes, how packed weights and state are laid out, one call.
//
// Vectors are padded to 16 lanes with zeros. A matrix of M rows and K columns is cut into panels of 128 rows; a panel is
// laid out by columns, [K / c][blocks][16 rows][c columns] with c = 1 (fp32), 2 (bf16) or 4 (int8), so that the kernel
// reads each weight once, in order. In memory stand first what every sample needs in the order of its use (for
// each layer the current tap and the residual projection, then skip and head), then the older taps.
#pragma once

#include <cstdint>

namespace wavegen {

enum class Format : int64_t { kFp32 = 0, kBf16 = 1, kInt8 = 2 };
enum class Output : int64_t { kSoftmax = 0, kGaussian = 1, kLogistics = 2 };

constexpr int64_t kLanes = 16;
constexpr int64_t kPanelBlocks = 8;
constexpr int64_t kTaps = 3;  // frames that a sample's conditioning is interpolated from
constexpr int64_t kMaxChannels = 4096;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxDilation = 1 << 20;
constexpr int64_t kMaxHop = 1 << 16;
constexpr int64_t kMaxStreams = 1 << 20;
constexpr int64_t kMaxTime = int64_t(1) << 60;  // samples
constexpr float kLogScaleFloor = -9.0f;

inline int64_t padded(int64_t channels) { return (channels + kLanes - 1) / kLanes * kLanes; }
inline int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

struct Sizes {
    Format format;
    Output output;
    int64_t residual, gate, skip, head, outputs, width, layers, hop;
};

// One packed matrix: weights, and for int8 the scale of each row, and of each row and kInt8Columns columns 32768 times
// the sum of weights (modulo 2^32; see dot_int8).
struct Matrix {
    int64_t rows = 0, columns = 0;  // padded
    const uint8_t* weights = nullptr;
    const float* scales = nullptr;
    const int32_t* offsets = nullptr;
};

constexpr int64_t kInt8Columns = 512;  // summed in int32 at a time: 512 × 127 × 32767 < 2^31

inline int64_t int8_chunks(int64_t columns) { return (columns + kInt8Columns - 1) / kInt8Columns; }

inline int64_t columns_together(Format format) { return format == Format::kFp32 ? 1 : format == Format::kBf16 ? 2 : 4; }

inline int64_t weight_bytes(Format format) { return format == Format::kFp32 ? 4 : format == Format::kBf16 ? 2 : 1; }

// Walks the sections of packed weights in their one order; with a null base it only measures.
class Walker {
  public:
    explicit Walker(const uint8_t* base) : base_(base) {}
    template <typename T>
    const T* take(int64_t count) {
        const uint8_t* here = base_ == nullptr ? nullptr : base_ + at_;
        at_ += aligned(count * int64_t(sizeof(T)));
        return reinterpret_cast<const T*>(here);
    }
    int64_t bytes() const { return at_; }

  private:
    const uint8_t* base_;
    int64_t at_ = 0;
};

// Where everything of a network stands in its packed weights. Arrays of layers are the caller's.
struct Network {
    Sizes sizes;
    const int64_t* dilations;
    const float* input;          // [classes or 2][residual]
    const float* interpolation;  // [3][hop]
    const float* gate_bias;      // [layers][2 gate]
    const float* residual_bias;  // [layers][residual]
    const float* skip_bias;
    const float* head1_bias;
    const float* head2_bias;
    Matrix skip, head1, head2;

    int64_t inputs() const { return sizes.output == Output::kSoftmax ? sizes.outputs : 2; }
    int64_t residual() const { return padded(sizes.residual); }
    int64_t gate() const { return padded(sizes.gate); }
    int64_t uniforms() const { return sizes.output == Output::kLogistics ? 2 : 1; }
};

struct Layer {
    int64_t dilation;
    Matrix current, residual;
    Matrix older[2];  // by tap: the oldest first
};

inline Matrix take_matrix(Walker& walk, Format format, int64_t rows, int64_t columns) {
    Matrix m;
    m.rows = padded(rows);
    m.columns = columns;
    if (format == Format::kInt8) {
        m.scales = walk.take<float>(m.rows);
        m.offsets = walk.take<int32_t>(m.rows * int8_chunks(columns));
    }
    m.weights = walk.take<uint8_t>(m.rows * m.columns * weight_bytes(format));
    return m;
}

// The header: magic, total bytes, then Sizes in their order, as int64.
constexpr int64_t kWeightsMagic = 0x31574e4e47455657;  // "WVEGNNW1"
constexpr int64_t kStateMagic = 0x3153544e47455657;    // "WVEGNTS1"
constexpr int64_t kHeaderFields = 16;

inline void lay_out(Walker& walk, const Sizes& s, Network* network, Layer* layers) {
    network->sizes = s;
    walk.take<int64_t>(kHeaderFields);
    network->dilations = walk.take<int64_t>(s.layers);
    int64_t residual = padded(s.residual), gate = padded(s.gate);
    network->input = walk.take<float>(network->inputs() * residual);
    network->interpolation = walk.take<float>(kTaps * s.hop);
    network->gate_bias = walk.take<float>(s.layers * 2 * gate);
    network->residual_bias = walk.take<float>(s.layers * residual);
    network->skip_bias = walk.take<float>(padded(s.skip));
    network->head1_bias = walk.take<float>(padded(s.head));
    network->head2_bias = walk.take<float>(padded(s.outputs));
    for (int64_t l = 0; l < s.layers; ++l) {
        layers[l].current = take_matrix(walk, s.format, 2 * gate, residual);
        if (l + 1 < s.layers) layers[l].residual = take_matrix(walk, s.format, residual, gate);
    }
    network->skip = take_matrix(walk, s.format, s.skip, s.layers * gate);
    network->head1 = take_matrix(walk, s.format, s.head, padded(s.skip));
    network->head2 = take_matrix(walk, s.format, s.outputs, padded(s.head));
    for (int64_t l = 0; l < s.layers; ++l)
        for (int64_t tap = 0; tap + 1 < s.width; ++tap)
            layers[l].older[tap] = take_matrix(walk, s.format, 2 * gate, residual);
}

// State: header (magic, bytes, streams, samples made, fingerprint of the network), last value of each stream, then for
// each stream and layer a ring of (width - 1) * dilation slots, each a residual vector as the format has it.
struct StateHeader {
    int64_t magic, bytes, streams, time, fingerprint;
};

// An int8 network's slot holds the planes of its int16 values, then their scale.
inline int64_t slot_bytes(const Sizes& s) {
    int64_t residual = padded(s.residual);
    if (s.format == Format::kFp32) return 4 * residual;
    return s.format == Format::kBf16 ? aligned(2 * residual) : aligned(2 * residual + 4);
}

inline int64_t stream_slots(const Sizes& s, const int64_t* dilations) {
    int64_t slots = 0;
    for (int64_t l = 0; l < s.layers; ++l) slots += (s.width - 1) * dilations[l];
    return slots;
}

inline int64_t state_bytes(const Sizes& s, const int64_t* dilations, int64_t streams) {
    return aligned(sizeof(StateHeader)) + aligned(4 * streams) + streams * stream_slots(s, dilations) * slot_bytes(s);
}

enum class Outcome { kDone, kNoMemory, kOverflow };

// One call: `samples` steps of every stream from the state's time on.
struct GenerateCall {
    const Network* network;
    const Layer* layers;
    uint8_t* state;
    const float* conditioning;  // [streams][frames][layers][2 sizes.gate], from the frame before the first sample's on
    const float* uniforms;      // [streams][samples][network.uniforms()]
    const int64_t* lengths;     // [streams], samples of this call that each stream makes
    const float* forced;        // [streams][samples], or null
    float* values;              // [streams][samples]
    float* parameters;          // [streams][samples][sizes.outputs], or null
    int64_t streams, samples, frames, time;
    float temperature, top_p;
    int64_t top_k;
};

}  // namespace wavegen
