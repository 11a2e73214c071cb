// The gated dilated layer, forward and backward, as tiled matrix products over time.
//
// A block makes tiles of 64 rows × 64 columns, of which each of its 8 warps has 16 × 32; bf16 products go through the
// tensor cores with fp32 sums, fp32 and fp64 through multiply-adds with the same fragments. Operands are read element
// by element through functors, which know about taps, transposition and the zeros outside the sequence. The forward
// pass is one kernel: the gated activations of 64 samples stay in the block. The backward pass recomputes them.
// Weight gradients are summed in a fixed number of parts, and these in order: results do not change from run to run.
#include "layer.h"

#include <math.h>

#include "simt.h"

namespace wavegen::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64;
constexpr int kWords = 16;             // words of the inner dimension that a block holds at a time
constexpr int kRowStride = kWords + 4;   // strides that keep a warp's fragments in distinct banks
constexpr int kWordStride = kTile + 8;
constexpr int kFetch = kTile * kWords / kThreads;
constexpr int kSegment = 512;          // samples that a weight gradient's block sums before it moves to the next part
constexpr int64_t kMaxParts = 64;

// How a number is stored, and what sums of it are; a word is what one fragment register holds.
struct Fp32 {
    using Stored = float;
    using Sum = float;
    using Word = float;
    static constexpr int kPack = 1;
    static constexpr int kBlocks = 1;  // that a multiprocessor must have registers for
    static WAVEGEN_DEVICE float load(float v) { return v; }
    static WAVEGEN_DEVICE float store(float v) { return v; }
};
struct Fp64 {
    using Stored = double;
    using Sum = double;
    using Word = double;
    static constexpr int kPack = 1;
    static constexpr int kBlocks = 1;
    static WAVEGEN_DEVICE double load(double v) { return v; }
    static WAVEGEN_DEVICE double store(double v) { return v; }
};
struct Bf16 {
    using Stored = uint16_t;
    using Sum = float;
    using Word = uint32_t;
    static constexpr int kPack = 2;
    static constexpr int kBlocks = 2;
    static WAVEGEN_DEVICE float load(uint16_t v) {
        union {
            uint32_t u;
            float f;
        } pun = {uint32_t(v) << 16};
        return pun.f;
    }
    static WAVEGEN_DEVICE uint16_t store(float v) { return simt::to_bf16(v); }
};

WAVEGEN_HOST_DEVICE constexpr int64_t tiles_of(int64_t count) { return (count + kTile - 1) / kTile; }
constexpr int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
template <typename N>
constexpr int64_t operand_bytes() {
    return (kTile * kRowStride + kWords * kWordStride) * int64_t(sizeof(typename N::Word));
}

// This thread's part of a block's tile: rows row and row + 8, and of each of 4 pieces columns column and column + 1.
template <typename N>
struct Sums {
    typename N::Sum at[4][4];

    WAVEGEN_DEVICE void clear() {
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) at[n][i] = 0;
    }
    static WAVEGEN_DEVICE int row(int i) { return simt::warp() % 4 * 16 + simt::lane() / 4 + i / 2 * 8; }
    static WAVEGEN_DEVICE int column(int n, int i) {
        return simt::warp() / 4 * 32 + n * 8 + simt::lane() % 4 * 2 + i % 2;
    }
};

// Products of the words that the block holds.
template <typename N>
WAVEGEN_DEVICE void multiply(Sums<N>& sums, const typename N::Word* a, const typename N::Word* b) {
    const int lane = simt::lane();
    a += Sums<N>::row(0) * kRowStride;
    b += simt::warp() / 4 * 32;
    if constexpr (N::kPack == 2) {
#pragma unroll
        for (int k = 0; k < kWords; k += 8) {
            const int q = k + lane % 4;
            const Words left = {{a[q], a[8 * kRowStride + q], a[q + 4], a[8 * kRowStride + q + 4]}};
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const uint32_t* right = b + q * kWordStride + n * 8 + lane / 4;
                simt::mma_bf16(sums.at[n], left, right[0], right[4 * kWordStride]);
            }
        }
    } else {
#pragma unroll 4
        for (int k = 0; k < kWords; ++k) {
            const typename N::Sum low = a[k], high = a[8 * kRowStride + k];
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const typename N::Word* right = b + k * kWordStride + n * 8 + lane % 4 * 2;
                sums.at[n][0] += low * right[0];
                sums.at[n][1] += low * right[1];
                sums.at[n][2] += high * right[0];
                sums.at[n][3] += high * right[1];
            }
        }
    }
}

// Two elements in a word, or one.
template <typename N, typename Read>
WAVEGEN_DEVICE typename N::Word word_of(const Read& read, int64_t k, int64_t inner) {
    if constexpr (N::kPack == 2) {
        const uint32_t low = 2 * k < inner ? read(2 * k) : 0, high = 2 * k + 1 < inner ? read(2 * k + 1) : 0;
        return low | high << 16;
    } else {
        return k < inner ? read(k) : typename N::Stored(0);
    }
}

// sums += a (64 × inner) b (inner × 64); a(row, k) and b(k, column) give elements, zero outside their tensors.
// InnerFirst: b lies in memory along k. The next words are fetched while the block multiplies these.
template <typename N, bool InnerFirst, typename A, typename B>
WAVEGEN_DEVICE void product(Sums<N>& sums, uint8_t* memory, int64_t inner, const A& a, const B& b) {
    using Word = typename N::Word;
    Word* left = reinterpret_cast<Word*>(memory);
    Word* right = left + kTile * kRowStride;
    Word next_left[kFetch], next_right[kFetch];
    const int64_t words = (inner + N::kPack - 1) / N::kPack;
    const auto fetch = [&](int64_t k0) {
#pragma unroll
        for (int j = 0; j < kFetch; ++j) {
            const int i = simt::thread() + j * kThreads;
            const int row = i / kWords, column = InnerFirst ? i / kWords : i % kTile;
            const int64_t ka = k0 + i % kWords, kb = k0 + (InnerFirst ? i % kWords : i / kTile);
            next_left[j] = word_of<N>([&](int64_t k) { return a(row, k); }, ka, inner);
            next_right[j] = word_of<N>([&](int64_t k) { return b(k, column); }, kb, inner);
        }
    };
    fetch(0);
    for (int64_t k0 = 0; k0 < words; k0 += kWords) {
        simt::sync_block();  // the words held are used up
#pragma unroll
        for (int j = 0; j < kFetch; ++j) {
            const int i = simt::thread() + j * kThreads;
            left[i / kWords * kRowStride + i % kWords] = next_left[j];
            const int at = InnerFirst ? i % kWords * kWordStride + i / kWords : i / kTile * kWordStride + i % kTile;
            right[at] = next_right[j];
        }
        simt::sync_block();
        if (k0 + kWords < words) fetch(k0 + kWords);
        multiply<N>(sums, left, right);
    }
}

// One sequence of a tensor (batch, rows, length), from sample `start` on; zero outside it.
template <typename Stored>
struct Sequence {
    const Stored* data;
    int64_t rows, length, start;

    WAVEGEN_DEVICE Stored operator()(int64_t row, int64_t column) const {
        const int64_t t = start + column;
        return row < rows && t >= 0 && t < length ? data[row * length + t] : Stored(0);
    }
};
template <typename Stored>
WAVEGEN_DEVICE Sequence<Stored> sequence(const void* tensor, int64_t batch, int64_t rows, int64_t length,
                                         int64_t start) {
    return {static_cast<const Stored*>(tensor) + batch * rows * length, rows, length, start};
}

// A tap reads this many samples later (earlier: negative).
WAVEGEN_DEVICE int64_t shift(const LayerShape& s, int64_t tap) {
    return s.causal ? -(s.width - 1 - tap) * s.dilation : (tap - s.width / 2) * s.dilation;
}

template <typename Sum>
WAVEGEN_DEVICE Sum sigmoid(Sum v) {
    const Sum e = exp(v < 0 ? v : -v);
    return (v < 0 ? e : Sum(1)) / (1 + e);
}

// In a tile of gates, every 16 rows are 8 of the filter and the 8 of the gate that belong to them.
WAVEGEN_DEVICE int64_t gate_channel(int row) { return row / 16 * 8 + row % 8; }
WAVEGEN_DEVICE bool is_gate(int row) { return row % 16 >= 8; }

// What goes into tanh and sigmoid for channels [first, first + 32) at samples [start, start + 64), without bias.
template <typename N>
WAVEGEN_DEVICE void pre_activations(Sums<N>& sums, uint8_t* memory, const LayerShape& s, const void* x,
                                    const void* conditioning, const void* dilated_weight,
                                    const void* conditioning_weight, int64_t batch, int64_t start, int64_t first) {
    using Stored = typename N::Stored;
    sums.clear();
    const auto weight_row = [&](int row) { return first + gate_channel(row) + (is_gate(row) ? s.gate : 0); };
    const auto inside = [&](int row) { return first + gate_channel(row) < s.gate; };
    const Stored* dilated = static_cast<const Stored*>(dilated_weight);
    for (int64_t tap = 0; tap < s.width; ++tap)
        product<N, false>(
            sums, memory, s.residual,
            [&](int row, int64_t k) {
                return inside(row) ? dilated[(weight_row(row) * s.residual + k) * s.width + tap] : Stored(0);
            },
            sequence<Stored>(x, batch, s.residual, s.length, start + shift(s, tap)));
    if (conditioning == nullptr) return;
    const Stored* projection = static_cast<const Stored*>(conditioning_weight);
    product<N, false>(
        sums, memory, s.conditioning,
        [&](int row, int64_t k) {
            return inside(row) ? projection[weight_row(row) * s.conditioning + k] : Stored(0);
        },
        sequence<Stored>(conditioning, batch, s.conditioning, s.length, start));
}

template <typename N>
WAVEGEN_DEVICE typename N::Sum element(const void* tensor, int64_t at) {
    return tensor == nullptr ? typename N::Sum(0) : N::load(static_cast<const typename N::Stored*>(tensor)[at]);
}
template <typename N>
WAVEGEN_DEVICE void put(void* tensor, int64_t at, typename N::Sum value) {
    static_cast<typename N::Stored*>(tensor)[at] = N::store(value);
}

// --- forward

struct ForwardParameters {
    LayerForward call;
    int64_t z_offset;  // of z in shared memory; 0: z is in the workspace
};

template <typename N>
WAVEGEN_KERNEL(kThreads, N::kBlocks) forward_kernel(WAVEGEN_PARAMETER ForwardParameters p) {
    using Stored = typename N::Stored;
    const LayerForward& c = p.call;
    const LayerShape& s = c.shape;
    uint8_t* memory = simt::shared_memory();
    const int64_t tiles = tiles_of(s.length), batch = simt::block() / tiles, start = simt::block() % tiles * kTile;
    Stored* z = p.z_offset > 0 ? reinterpret_cast<Stored*>(memory + p.z_offset)
                               : static_cast<Stored*>(c.workspace) + simt::block() * s.gate * kTile;
    Sums<N> sums;
    for (int64_t first = 0; first < s.gate; first += kTile / 2) {
        pre_activations<N>(sums, memory, s, c.x, c.conditioning, c.dilated_weight, c.conditioning_weight, batch, start,
                           first);
        const int64_t channel = first + gate_channel(Sums<N>::row(0));
        if (channel >= s.gate) continue;
        const typename N::Sum filter = element<N>(c.dilated_bias, channel);
        const typename N::Sum gate = element<N>(c.dilated_bias, s.gate + channel);
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i)
                z[channel * kTile + Sums<N>::column(n, i)] =
                    N::store(tanh(sums.at[n][i] + filter) * sigmoid(sums.at[n][i + 2] + gate));
    }
    simt::sync_block();  // z is read by all
    const Stored* weight = static_cast<const Stored*>(c.output_weight);
    const int64_t rows = s.residual + s.skip;
    for (int64_t first = 0; first < rows; first += kTile) {
        sums.clear();
        product<N, false>(
            sums, memory, s.gate,
            [&](int row, int64_t k) { return first + row < rows ? weight[(first + row) * s.gate + k] : Stored(0); },
            [&](int64_t k, int column) { return z[k * kTile + column]; });
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t row = first + Sums<N>::row(i);
            if (row >= rows) continue;
            const typename N::Sum bias = element<N>(c.output_bias, row);
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const int64_t t = start + Sums<N>::column(n, i);
                if (t >= s.length) continue;
                const typename N::Sum sum = sums.at[n][i] + bias;
                const int64_t x = (batch * s.residual + row) * s.length + t;
                if (row < s.residual)
                    put<N>(c.residual, x, element<N>(c.x, x) + sum);
                else
                    put<N>(c.skip, (batch * s.skip + row - s.residual) * s.length + t, sum);
            }
        }
    }
}

// --- backward

struct BackwardParameters {
    LayerBackward call;
    void *d_z, *z, *d_pre, *parts;  // of the workspace; z is made anew, d_z is its gradient
    int64_t part_count;
};

// The gradient of the layer's output, residual over skip, as one tensor of rows.
template <typename N>
struct OutputGradient {
    Sequence<typename N::Stored> residual, skip;

    WAVEGEN_DEVICE typename N::Stored operator()(int64_t row, int64_t column) const {
        return row < residual.rows ? residual(row, column) : skip(row - residual.rows, column);
    }
};
template <typename N>
WAVEGEN_DEVICE OutputGradient<N> output_gradient(const LayerBackward& c, int64_t batch, int64_t start) {
    using Stored = typename N::Stored;
    const LayerShape& s = c.shape;
    return {sequence<Stored>(c.d_residual, batch, s.residual, s.length, start),
            sequence<Stored>(c.d_skip, batch, s.skip, s.length, start)};
}

// d_z = output_weightᵀ × the output's gradient.
template <typename N>
WAVEGEN_KERNEL(kThreads, N::kBlocks) gate_gradient_kernel(WAVEGEN_PARAMETER BackwardParameters p) {
    using Stored = typename N::Stored;
    const LayerBackward& c = p.call;
    const LayerShape& s = c.shape;
    const int64_t tiles = tiles_of(s.length), batch = simt::block() / tiles, start = simt::block() % tiles * kTile;
    const Stored* weight = static_cast<const Stored*>(c.output_weight);
    Sums<N> sums;
    for (int64_t first = 0; first < s.gate; first += kTile) {
        sums.clear();
        product<N, false>(
            sums, simt::shared_memory(), s.residual + s.skip,
            [&](int row, int64_t k) { return first + row < s.gate ? weight[k * s.gate + first + row] : Stored(0); },
            output_gradient<N>(c, batch, start));
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const int64_t row = first + Sums<N>::row(i), t = start + Sums<N>::column(n, i);
                if (row < s.gate && t < s.length) put<N>(p.d_z, (batch * s.gate + row) * s.length + t, sums.at[n][i]);
            }
    }
}

// z and d_pre, from the recomputed pre-activations and d_z.
template <typename N>
WAVEGEN_KERNEL(kThreads, N::kBlocks) pre_gradient_kernel(WAVEGEN_PARAMETER BackwardParameters p) {
    using Sum = typename N::Sum;
    const LayerBackward& c = p.call;
    const LayerShape& s = c.shape;
    const int64_t tiles = tiles_of(s.length), batch = simt::block() / tiles, start = simt::block() % tiles * kTile;
    Sums<N> sums;
    for (int64_t first = 0; first < s.gate; first += kTile / 2) {
        pre_activations<N>(sums, simt::shared_memory(), s, c.x, c.conditioning, c.dilated_weight,
                           c.conditioning_weight, batch, start, first);
        const int64_t channel = first + gate_channel(Sums<N>::row(0));
        if (channel >= s.gate) continue;
        const Sum filter = element<N>(c.dilated_bias, channel), gate = element<N>(c.dilated_bias, s.gate + channel);
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int64_t t = start + Sums<N>::column(n, i);
                if (t >= s.length) continue;
                const Sum a = tanh(sums.at[n][i] + filter), b = sigmoid(sums.at[n][i + 2] + gate);
                const int64_t at = (batch * s.gate + channel) * s.length + t;
                const int64_t pre = (batch * 2 * s.gate + channel) * s.length + t;
                const Sum d = element<N>(p.d_z, at);
                put<N>(p.z, at, a * b);
                put<N>(p.d_pre, pre, d * b * (1 - a * a));
                put<N>(p.d_pre, pre + s.gate * s.length, d * a * b * (1 - b));
            }
    }
}

// d_x, or with Conditioning d_conditioning.
template <typename N, bool Conditioning>
WAVEGEN_KERNEL(kThreads, N::kBlocks) input_gradient_kernel(WAVEGEN_PARAMETER BackwardParameters p) {
    using Stored = typename N::Stored;
    const LayerBackward& c = p.call;
    const LayerShape& s = c.shape;
    const int64_t tiles = tiles_of(s.length), batch = simt::block() / tiles, start = simt::block() % tiles * kTile;
    const int64_t rows = Conditioning ? s.conditioning : s.residual, width = Conditioning ? 1 : s.width;
    const Stored* weight = static_cast<const Stored*>(Conditioning ? c.conditioning_weight : c.dilated_weight);
    Sums<N> sums;
    for (int64_t first = 0; first < rows; first += kTile) {
        sums.clear();
        for (int64_t tap = 0; tap < width; ++tap)
            product<N, false>(
                sums, simt::shared_memory(), 2 * s.gate,
                [&](int row, int64_t k) {
                    return first + row < rows ? weight[(k * rows + first + row) * width + tap] : Stored(0);
                },
                sequence<Stored>(p.d_pre, batch, 2 * s.gate, s.length, start - (Conditioning ? 0 : shift(s, tap))));
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const int64_t row = first + Sums<N>::row(i), t = start + Sums<N>::column(n, i);
                if (row >= rows || t >= s.length) continue;
                const int64_t at = (batch * rows + row) * s.length + t;
                if (Conditioning)
                    put<N>(c.d_conditioning, at, sums.at[n][i]);
                else
                    put<N>(c.d_x, at, element<N>(c.d_residual, at) + sums.at[n][i]);
            }
    }
}

// Which weight: its rows come from `left` (d_pre or the output's gradient), its columns from what it multiplies.
enum class Weight { kDilated, kConditioning, kOutput };

struct WeightParameters {
    BackwardParameters backward;
    int64_t tap;
    int64_t rows, columns;  // one column more, which multiplies ones, is the bias
};

// One tile of one part of a weight's gradient, over every part_count-th segment of time.
template <typename N, Weight W>
WAVEGEN_KERNEL(kThreads, N::kBlocks) weight_gradient_kernel(WAVEGEN_PARAMETER WeightParameters p) {
    using Stored = typename N::Stored;
    const LayerBackward& c = p.backward.call;
    const LayerShape& s = c.shape;
    const int64_t across = tiles_of(p.columns + 1), down = tiles_of(p.rows), block = simt::block();
    const int64_t column0 = block % across * kTile, row0 = block / across % down * kTile, part = block / across / down;
    const int64_t each = (s.length + kSegment - 1) / kSegment;
    Sums<N> sums;
    sums.clear();
    for (int64_t segment = part; segment < s.batch * each; segment += p.backward.part_count) {
        const int64_t batch = segment / each, start = segment % each * kSegment;
        const int64_t count = s.length - start < kSegment ? s.length - start : kSegment;
        const auto times = [&](const Sequence<Stored>& right, const auto& left) {
            product<N, true>(
                sums, simt::shared_memory(), count, [&](int row, int64_t k) { return left(row0 + row, k); },
                [&](int64_t k, int column) {
                    return column0 + column == p.columns ? N::store(1) : right(column0 + column, k);
                });
        };
        if constexpr (W == Weight::kOutput)
            times(sequence<Stored>(p.backward.z, batch, s.gate, s.length, start), output_gradient<N>(c, batch, start));
        else if constexpr (W == Weight::kConditioning)
            times(sequence<Stored>(c.conditioning, batch, s.conditioning, s.length, start),
                  sequence<Stored>(p.backward.d_pre, batch, 2 * s.gate, s.length, start));
        else
            times(sequence<Stored>(c.x, batch, s.residual, s.length, start + shift(s, p.tap)),
                  sequence<Stored>(p.backward.d_pre, batch, 2 * s.gate, s.length, start));
    }
    auto* parts = static_cast<typename N::Sum*>(p.backward.parts) + part * p.rows * (p.columns + 1);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            const int64_t row = row0 + Sums<N>::row(i), column = column0 + Sums<N>::column(n, i);
            if (row < p.rows && column <= p.columns) parts[row * (p.columns + 1) + column] = sums.at[n][i];
        }
}

struct ReduceParameters {
    const void* parts;
    int64_t count, rows, columns, stride, offset;
    void *weight, *bias;
};

// Sums the parts of a weight's gradient in order.
template <typename N>
WAVEGEN_KERNEL(kThreads, N::kBlocks) reduce_kernel(WAVEGEN_PARAMETER ReduceParameters p) {
    const int64_t all = p.rows * (p.columns + 1), at = simt::block() * kThreads + simt::thread();
    if (at >= all) return;
    const auto* parts = static_cast<const typename N::Sum*>(p.parts);
    typename N::Sum sum = 0;
    for (int64_t part = 0; part < p.count; ++part) sum += parts[part * all + at];
    const int64_t row = at / (p.columns + 1), column = at % (p.columns + 1);
    if (column < p.columns)
        put<N>(p.weight, (row * p.columns + column) * p.stride + p.offset, sum);
    else if (p.bias != nullptr)
        put<N>(p.bias, row, sum);
}

// --- launches

int64_t z_bytes(const LayerShape& s, int64_t stored) { return s.gate * kTile * stored; }

int64_t part_count(const LayerShape& s) {
    const int64_t segments = s.batch * ((s.length + kSegment - 1) / kSegment);
    return segments < kMaxParts ? segments : kMaxParts;
}

int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Bytes of the workspace's parts: d_z, z, d_pre, partial sums.
template <typename N>
void divide(const LayerShape& s, int64_t (&bytes)[4]) {
    const int64_t column = s.batch * s.length * int64_t(sizeof(typename N::Stored));
    const int64_t weights = larger(2 * s.gate * (larger(s.residual, s.conditioning) + 1),
                                   (s.residual + s.skip) * (s.gate + 1));
    bytes[0] = bytes[1] = aligned(s.gate * column);
    bytes[2] = aligned(2 * s.gate * column);
    bytes[3] = aligned(part_count(s) * weights * int64_t(sizeof(typename N::Sum)));
}

template <typename N>
bool z_fits(const LayerShape& s) {
    return aligned(operand_bytes<N>()) + z_bytes(s, sizeof(typename N::Stored)) <= int64_t(simt::shared_memory_limit());
}

template <typename N>
int forward(const LayerForward& call, void* stream) {
    const LayerShape& s = call.shape;
    const int64_t operands = aligned(operand_bytes<N>()), z = z_bytes(s, sizeof(typename N::Stored));
    const bool fits = z_fits<N>(s);
    Launch how = {s.batch * tiles_of(s.length), 1, kThreads, size_t(operands + (fits ? z : 0)), stream};
    return simt::launch(forward_kernel<N>, how, ForwardParameters{call, fits ? operands : 0});
}

template <typename N, Weight W>
int weight_gradient(const BackwardParameters& p, int64_t tap, int64_t rows, int64_t columns, int64_t stride, void* to,
                    void* bias, void* stream) {
    WeightParameters w = {p, tap, rows, columns};
    const int64_t blocks = tiles_of(columns + 1) * tiles_of(rows) * p.part_count;
    Launch how = {blocks, 1, kThreads, size_t(operand_bytes<N>()), stream};
    if (int error = simt::launch(weight_gradient_kernel<N, W>, how, w)) return error;
    Launch last = {(rows * (columns + 1) + kThreads - 1) / kThreads, 1, kThreads, 0, stream};
    return simt::launch(reduce_kernel<N>, last,
                        ReduceParameters{p.parts, p.part_count, rows, columns, stride, tap, to, bias});
}

template <typename N>
int backward(const LayerBackward& call, void* stream) {
    const LayerShape& s = call.shape;
    int64_t bytes[4];
    divide<N>(s, bytes);
    uint8_t* at = static_cast<uint8_t*>(call.workspace);
    BackwardParameters p = {call, at, at + bytes[0], at + bytes[0] + bytes[1], at + bytes[0] + bytes[1] + bytes[2],
                            part_count(s)};
    Launch tiles = {s.batch * tiles_of(s.length), 1, kThreads, size_t(operand_bytes<N>()), stream};
    int error = simt::launch(gate_gradient_kernel<N>, tiles, p);
    if (error == 0) error = simt::launch(pre_gradient_kernel<N>, tiles, p);
    if (error == 0) error = simt::launch(input_gradient_kernel<N, false>, tiles, p);
    for (int64_t tap = 0; tap < s.width && error == 0; ++tap)
        error = weight_gradient<N, Weight::kDilated>(p, tap, 2 * s.gate, s.residual, s.width, call.d_dilated_weight,
                                                     tap == 0 ? call.d_dilated_bias : nullptr, stream);
    if (error == 0)
        error = weight_gradient<N, Weight::kOutput>(p, 0, s.residual + s.skip, s.gate, 1, call.d_output_weight,
                                                    call.d_output_bias, stream);
    if (error != 0 || call.conditioning == nullptr) return error;
    error = simt::launch(input_gradient_kernel<N, true>, tiles, p);
    if (error != 0) return error;
    return weight_gradient<N, Weight::kConditioning>(p, 0, 2 * s.gate, s.conditioning, 1, call.d_conditioning_weight,
                                                     nullptr, stream);
}

// work(N()) for the element's numbers.
template <typename Work>
auto by_element(Element element, const Work& work) {
    if (element == Element::kFp32) return work(Fp32());
    if (element == Element::kBf16) return work(Bf16());
    return work(Fp64());
}

}  // namespace

size_t forward_workspace(const LayerShape& s, Element element) {
    return by_element(element, [&](auto n) -> size_t {
        using N = decltype(n);
        if (z_fits<N>(s)) return 0;
        return size_t(aligned(s.batch * tiles_of(s.length) * z_bytes(s, sizeof(typename N::Stored))));
    });
}

size_t backward_workspace(const LayerShape& s, Element element) {
    return by_element(element, [&](auto n) -> size_t {
        int64_t bytes[4];
        divide<decltype(n)>(s, bytes);
        return size_t(bytes[0] + bytes[1] + bytes[2] + bytes[3]);
    });
}

int launch_forward(const LayerForward& call, Element element, void* stream) {
    return by_element(element, [&](auto n) { return forward<decltype(n)>(call, stream); });
}

int launch_backward(const LayerBackward& call, Element element, void* stream) {
    return by_element(element, [&](auto n) { return backward<decltype(n)>(call, stream); });
}

}  // namespace wavegen::cuda
