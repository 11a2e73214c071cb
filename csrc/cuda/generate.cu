// WaveNet generation in one persistent launch.
//
// The network's units (layers, then the head's two matrices) are spread in order over the blocks of a cluster. For each
// sample of a group of up to 8 streams, the residual stream hops from block to block through distributed shared memory;
// behind it follow the skip sums, and the sampled value returns to the first block. Each block keeps as many of its
// matrices in shared memory as fit, those on the critical path first, and reads the rest through L2. While it waits, a
// block sums what does not depend on the new sample: bias, conditioning and the older taps. With a cluster of a single
// block, which every device can run, the same code makes 8 streams a block.
//
// Every sum runs in one order, whatever the cluster and the group, so that results do not depend on either.
#include "generate.h"

#include "numerics.h"
#include "sampling.h"
#include "simt.h"

namespace wavegen::cuda {
namespace {

constexpr int kWarps = kThreads / kWarp;
static_assert(kWarps == kColumns, "a warp encodes and samples one column");

// A 16 × 8 tile of sums: this lane's rows are lane / 4 and lane / 4 + 8, its columns 2 (lane % 4) and the next.
using Tile = float[4];
constexpr int kTileFloats = 16 * kColumns;

enum MatrixKind { kCurrent, kResidual, kSkip, kOlder, kKinds = kOlder + 2 };  // the head's matrices count as kCurrent

struct Matrix {
    const float* bias;
    const float* scales;
    const uint8_t* fragments;
    int chunks;  // of 32 bytes of columns
};

// The vectors of 8 streams that a product reads.
struct Vectors {
    const uint8_t* data;
    int64_t stride;  // bytes from stream to stream
    int last;        // columns after this one read it instead
};

// Byte offsets of a block's shared memory.
struct Shared {
    int64_t table, steps, flags, values, logits, activations, x, skip, past, z, resident;
    int64_t x_bytes, skip_bytes, vector, z_vector;
};

constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

inline Shared share(const Sizes& s, const Layout& a, int units, int tiles, int group) {
    Shared m = {};
    int64_t summed = larger(a.skip, a.head);
    m.x_bytes = a.residual * kColumns * 4;
    m.skip_bytes = summed * kColumns * 4;
    m.vector = vector_bytes(s.format, larger(a.residual, summed));
    m.z_vector = vector_bytes(s.format, a.gate);
    m.steps = aligned(int64_t(units) * kKinds * 8);
    m.flags = m.steps + aligned(tiles * 8);
    m.values = m.flags + aligned(tiles * 3 * 4);
    m.logits = m.values + aligned(tiles * kColumns * 4);
    m.activations = m.logits + aligned(kColumns * (skewed(int(a.outputs)) + 1) * 4);
    m.x = m.activations + aligned(kColumns * m.vector);
    m.skip = m.x + tiles * m.x_bytes;
    m.past = m.skip + tiles * m.skip_bytes;
    m.z = m.past + group * 2 * a.gate * kColumns * 4;
    m.resident = m.z + aligned(group * kColumns * m.z_vector);
    return m;
}

enum Flag { kFlagX, kFlagSkip, kFlagValue };

struct Parameters {
    GenerateCall call;
    Layout layout;
    Plan plan;
    Shared shared;
};

WAVEGEN_DEVICE int column_of(int lane) { return lane % 4 * 2; }
WAVEGEN_DEVICE int row_of(int lane) { return lane / 4; }

// Where row and column of a vector of sums lie in its tiles.
WAVEGEN_DEVICE int tile_index(int row, int column) {
    return row / 16 * kTileFloats + (row % 8 * 4 + column / 2) * 4 + row % 16 / 8 * 2 + column % 2;
}

WAVEGEN_DEVICE const uint8_t* column_data(const Vectors& v, int column) {
    return v.data + (column < v.last ? column : v.last) * v.stride;
}

// sums += matrix rows [16 tile, 16 tile + 16) × vectors.
template <Format F>
WAVEGEN_DEVICE void accumulate(Tile& sums, const Matrix& m, int tile, const Vectors& v) {
    const int lane = simt::lane();
    const uint8_t* a = m.fragments + int64_t(tile) * m.chunks * 512;
    if constexpr (F == Format::kFp32) {
        const uint8_t* left = column_data(v, column_of(lane));
        const uint8_t* right = column_data(v, column_of(lane) + 1);
        a += row_of(lane) * 16;
#pragma unroll 2
        for (int k = 0; k < 2 * m.chunks; ++k) {  // 4 columns at a time
            Quad low = simt::load_quad(a + k * 256), high = simt::load_quad(a + k * 256 + 128);
            Quad x = simt::load_quad(left + k * 16), y = simt::load_quad(right + k * 16);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                sums[0] = fmaf(low.value[i], x.value[i], sums[0]);
                sums[1] = fmaf(low.value[i], y.value[i], sums[1]);
                sums[2] = fmaf(high.value[i], x.value[i], sums[2]);
                sums[3] = fmaf(high.value[i], y.value[i], sums[3]);
            }
        }
    } else if constexpr (F == Format::kBf16) {
        const uint8_t* b = column_data(v, row_of(lane)) + lane % 4 * 4;
        a += lane * 16;
        float odd[4] = {};  // two chains, for a product waits for the one before it
#pragma unroll 2
        for (int k = 0; k < m.chunks; k += 2) {
            simt::mma_bf16(sums, simt::load_words(a + k * 512), simt::load_word(b + k * 32),
                           simt::load_word(b + k * 32 + 16));
            simt::mma_bf16(odd, simt::load_words(a + k * 512 + 512), simt::load_word(b + k * 32 + 32),
                           simt::load_word(b + k * 32 + 48));
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[i] += odd[i];
    } else {  // int16 activations as a plane of high bytes and one of low bytes; the sums are exact integers
        const uint8_t* high = column_data(v, row_of(lane)) + lane % 4 * 4;
        const uint8_t* low = high + m.chunks * 32;
        a += lane * 16;
        int32_t above[4] = {}, below[4] = {};
#pragma unroll 2
        for (int k = 0; k < m.chunks; ++k) {
            Words w = simt::load_words(a + k * 512);
            simt::mma_signed(above, w, simt::load_word(high + k * 32), simt::load_word(high + k * 32 + 16));
            simt::mma_unsigned(below, w, simt::load_word(low + k * 32), simt::load_word(low + k * 32 + 16));
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int column = column_of(lane) + i % 2;
            float scale = *reinterpret_cast<const float*>(column_data(v, column) + 64 * m.chunks) *
                          m.scales[tile * 16 + row_of(lane) + i / 2 * 8];
            sums[i] = fmaf(fmaf(256.0f, float(above[i]), float(below[i])), scale, sums[i]);
        }
    }
}

// Puts one activation where products read it; for int8, `value` is already in units of the vector's scale.
template <Format F>
WAVEGEN_DEVICE void put_activation(uint8_t* column, int64_t channels, int channel, float value) {
    if constexpr (F == Format::kFp32) {
        reinterpret_cast<float*>(column)[channel] = value;
    } else if constexpr (F == Format::kBf16) {
        reinterpret_cast<uint16_t*>(column)[channel] = simt::to_bf16(value);
    } else {
        int32_t q = int32_t(rintf(value));
        column[channel] = uint8_t(q >> 8);
        column[channels + channel] = uint8_t(q & 255);
    }
}

constexpr float kInt16 = 32767.0f;

// One thread's view of its block's part of the network.
template <Format F>
struct Worker {
    const Parameters& p;
    const GenerateCall& call;
    const Layout& sizes;
    uint8_t* memory;
    int rank, first, last, layers_end;  // units [first, last); layers among them end at layers_end
    int64_t cluster;

    WAVEGEN_DEVICE explicit Worker(const Parameters& parameters)
        : p(parameters), call(parameters.call), sizes(parameters.layout), memory(simt::shared_memory()) {
        rank = p.plan.cluster > 1 ? simt::cluster_rank() : 0;
        cluster = simt::block() / p.plan.cluster;
        first = p.plan.first_unit[rank];
        last = p.plan.first_unit[rank + 1];
        layers_end = last < layers() ? last : layers();
    }

    WAVEGEN_DEVICE int layers() const { return int(call.sizes.layers); }
    WAVEGEN_DEVICE float* floats(int64_t offset) const { return reinterpret_cast<float*>(memory + offset); }
    WAVEGEN_DEVICE float* x(int tile) const { return floats(p.shared.x + tile * p.shared.x_bytes); }
    WAVEGEN_DEVICE float* skip(int tile) const { return floats(p.shared.skip + tile * p.shared.skip_bytes); }
    WAVEGEN_DEVICE uint32_t* flag(int tile, Flag which) const {
        return reinterpret_cast<uint32_t*>(memory + p.shared.flags) + tile * 3 + which;
    }
    WAVEGEN_DEVICE int64_t& steps(int tile) const {
        return reinterpret_cast<int64_t*>(memory + p.shared.steps)[tile];
    }
    WAVEGEN_DEVICE int64_t first_stream(int tile) const {
        return (cluster * p.plan.tiles + tile) * p.plan.columns;
    }
    WAVEGEN_DEVICE int streams(int tile) const {
        int64_t left = call.streams - first_stream(tile);
        return left <= 0 ? 0 : left < p.plan.columns ? int(left) : p.plan.columns;
    }
    WAVEGEN_DEVICE const LayerRow& row(int layer) const {
        return reinterpret_cast<const LayerRow*>(call.weights + sizes.rows)[layer];
    }
    WAVEGEN_DEVICE uint8_t* activations() const { return memory + p.shared.activations; }
    WAVEGEN_DEVICE Vectors encoded() const { return {activations(), p.shared.vector, kColumns - 1}; }
    WAVEGEN_DEVICE uint8_t* z(int slot) const {
        return memory + p.shared.z + int64_t(slot) * kColumns * p.shared.z_vector;
    }
    WAVEGEN_DEVICE Vectors gated_vectors(int slot) const { return {z(slot), p.shared.z_vector, kColumns - 1}; }
    WAVEGEN_DEVICE uint8_t* ring(int64_t stream, int layer, int64_t time) const {
        const LayerRow& r = row(layer);
        int64_t slot = stream * call.sizes.slots + r.ring_offset + (time & (r.ring_slots - 1));
        return call.state + sizeof(StateHeader) + aligned(4 * call.streams) +
               slot * slot_bytes(F, call.sizes.residual);
    }
    WAVEGEN_DEVICE float* last_value(int64_t stream) const {
        return reinterpret_cast<float*>(call.state + sizeof(StateHeader)) + stream;
    }

    // --- matrices

    WAVEGEN_DEVICE int64_t blob_bytes(int unit, int kind) const {
        if (unit == layers()) return kind == kCurrent ? sizes.head2 - sizes.head1 : 0;
        if (unit > layers()) return kind == kCurrent ? sizes.total - sizes.head2 : 0;
        if (kind == kCurrent) return sizes.current;
        if (kind == kResidual) return unit + 1 < layers() ? sizes.residual_matrix : 0;
        if (kind == kSkip) return sizes.skip_matrix;
        return kind - kOlder < call.sizes.width - 1 ? sizes.older : 0;
    }
    WAVEGEN_DEVICE const uint8_t* global_blob(int unit, int kind) const {
        if (unit == layers()) return call.weights + sizes.head1;
        if (unit > layers()) return call.weights + sizes.head2;
        const uint8_t* here = call.weights + sizes.units + unit * sizes.layer;
        if (kind == kCurrent) return here;
        here += sizes.current;
        if (kind >= kOlder) return here + (kind - kOlder) * sizes.older;
        here += (call.sizes.width - 1) * sizes.older;
        return kind == kSkip ? here : here + sizes.skip_matrix;
    }
    WAVEGEN_DEVICE const uint8_t*& table(int unit, int kind) const {
        return reinterpret_cast<const uint8_t**>(memory + p.shared.table)[(unit - first) * kKinds + kind];
    }
    WAVEGEN_DEVICE Matrix matrix(int unit, int kind, int64_t rows, int64_t columns) const {
        const uint8_t* blob = table(unit, kind);
        Matrix m = {};
        m.chunks = int(columns * element_bytes(F) / 32);
        if (kind == kCurrent || kind == kResidual) {
            m.bias = reinterpret_cast<const float*>(blob);
            blob += rows * 4;
        }
        if constexpr (F == Format::kInt8) {
            m.scales = reinterpret_cast<const float*>(blob);
            blob += rows * 4;
        }
        m.fragments = blob;
        return m;
    }

    // Fills the table: matrices move to shared memory, those on the critical path first, as long as they fit.
    WAVEGEN_DEVICE void settle() {
        if (simt::thread() == 0) {
            int64_t at = p.shared.resident;
            for (int kind = 0; kind < kKinds; ++kind)
                for (int unit = first; unit < last; ++unit) {
                    int64_t bytes = blob_bytes(unit, kind);
                    bool fits = bytes > 0 && at + bytes <= int64_t(p.plan.shared_bytes);
                    table(unit, kind) = fits ? memory + at : global_blob(unit, kind);
                    if (fits) at += bytes;
                }
        }
        for (int i = simt::thread(); i < 3 * p.plan.tiles; i += kThreads) *(flag(0, kFlagX) + i) = 0;
        for (int tile = simt::thread(); tile < p.plan.tiles; tile += kThreads) {
            int64_t most = 0;
            for (int i = 0; i < streams(tile); ++i) {
                int64_t length = call.lengths[first_stream(tile) + i];
                most = length > most ? length : most;
            }
            steps(tile) = most < call.samples ? most : call.samples;
        }
        if constexpr (F == Format::kInt8)
            for (int i = simt::thread(); i < p.plan.group * kColumns; i += kThreads)
                *reinterpret_cast<float*>(z(0) + i * p.shared.z_vector + 2 * sizes.gate) = 1.0f / kInt16;
        simt::sync_block();
        for (int kind = 0; kind < kKinds; ++kind)
            for (int unit = first; unit < last; ++unit) {
                const uint8_t* to = table(unit, kind);
                const uint8_t* from = global_blob(unit, kind);
                if (to == from) continue;
                int64_t bytes = blob_bytes(unit, kind);
                for (int64_t i = simt::thread() * 16; i < bytes; i += kThreads * 16)
                    simt::store_words(const_cast<uint8_t*>(to) + i, simt::load_words(from + i));
            }
    }

    // --- messages between blocks

    WAVEGEN_DEVICE void await(int tile, Flag which, int64_t value) const {
        if (simt::thread() == 0) simt::await(flag(tile, which), uint32_t(value));
        simt::sync_block();
    }
    WAVEGEN_DEVICE void signal(int tile, Flag which, int to, int64_t value) const {
        simt::sync_block();
        if (simt::thread() == 0) simt::signal(there(flag(tile, which), to), uint32_t(value));
    }
    // The same address in another block's shared memory.
    template <typename T>
    WAVEGEN_DEVICE T* there(T* local, int to) const {
        return to == rank ? local : simt::remote(local, to);
    }
    WAVEGEN_DEVICE void sync_all() const {
        if (p.plan.cluster > 1)
            simt::sync_cluster();
        else
            simt::sync_block();
    }

    // --- vectors

    // A vector of sums to what products read; a warp for each column.
    template <bool Relu>
    WAVEGEN_DEVICE void encode(const float* sums, int64_t channels) const {
        const int column = simt::warp();
        uint8_t* to = activations() + column * p.shared.vector;
        float factor = 1.0f;
        if constexpr (F == Format::kInt8) {
            float most = 0.0f;
            for (int i = simt::lane(); i < channels; i += kWarp) {
                float value = sums[tile_index(i, column)];
                most = fmaxf(most, Relu ? fmaxf(value, 0.0f) : fabsf(value));
            }
            most = warp_max(most);
            factor = most > 1e-30f ? kInt16 / most : 0.0f;
            if (simt::lane() == 0) *reinterpret_cast<float*>(to + 2 * channels) = most / kInt16;
        }
        for (int i = simt::lane(); i < channels; i += kWarp) {
            float value = sums[tile_index(i, column)];
            put_activation<F>(to, channels, i, (Relu ? fmaxf(value, 0.0f) : value) * factor);
        }
    }

    // The input layer: each stream's last value to the residual stream.
    WAVEGEN_DEVICE void embed(int tile, int64_t step) const {
        const float* table = reinterpret_cast<const float*>(call.weights + sizes.input);
        const int column = simt::warp(), count = streams(tile);
        float value = 0.0f;
        if (column < count)
            value = step == 0 ? *last_value(first_stream(tile) + column)
                              : floats(p.shared.values)[tile * kColumns + column];
        if (call.sizes.output == Output::kSoftmax) {
            int most = int(call.sizes.outputs) - 1;
            int index = value >= 0.0f ? (value < float(most) ? int(value) : most) : 0;
            table += index * sizes.residual;
        }
        for (int i = simt::lane(); i < sizes.residual; i += kWarp)
            x(tile)[tile_index(i, column)] =
                call.sizes.output == Output::kSoftmax ? table[i] : fmaf(value, table[i], table[sizes.residual + i]);
    }

    // Sums for layers [from, to) all that is known before the new sample: bias, conditioning, older taps.
    WAVEGEN_DEVICE void sum_past(int tile, int64_t step, int from, int to) const {
        const int lane = simt::lane(), count = streams(tile), tiles = int(sizes.gate / 8);
        const int64_t time = call.time + step, stream = first_stream(tile), channels = 2 * call.sizes.gate;
        const int64_t frame = time / call.sizes.hop - call.time / call.sizes.hop;
        const float* table = reinterpret_cast<const float*>(call.weights + sizes.interpolation) + time % call.sizes.hop;
        const float u0 = table[0], u1 = table[call.sizes.hop], u2 = table[2 * call.sizes.hop];
        for (int item = simt::warp(); item < (to - from) * tiles; item += kWarps) {
            const int layer = from + item / tiles, m = item % tiles;
            const Matrix current = matrix(layer, kCurrent, 2 * sizes.gate, sizes.residual);
            Tile sums;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int channel = m * 8 + row_of(lane), column = column_of(lane) + i % 2;
                sums[i] = current.bias[m * 16 + row_of(lane) + i / 2 * 8];
                if (channel >= call.sizes.gate || column >= count) continue;
                const float* c = call.conditioning +
                                 (((stream + column) * call.frames + frame) * call.sizes.layers + layer) * channels +
                                 channel + i / 2 * call.sizes.gate;
                const int64_t next = call.sizes.layers * channels;
                sums[i] += fmaf(u2, c[2 * next], fmaf(u1, c[next], u0 * c[0]));
            }
            simt::sync_warp();  // tensor cores want the whole warp
            for (int tap = 0; tap + 1 < call.sizes.width; ++tap) {
                const int64_t back = (call.sizes.width - 1 - tap) * row(layer).dilation;
                const Vectors past = {ring(stream, layer, time - back),
                                      call.sizes.slots * slot_bytes(F, call.sizes.residual), count - 1};
                accumulate<F>(sums, matrix(layer, kOlder + tap, 2 * sizes.gate, sizes.residual), m, past);
            }
            simt::store_quad(floats(p.shared.past) + (item * kWarp + lane) * 4, sums);
        }
    }

    // What the layer has read goes into its ring.
    WAVEGEN_DEVICE void remember(int tile, int64_t step, int layer) const {
        const int pieces = int(slot_bytes(F, call.sizes.residual) / 16);
        for (int i = simt::thread(); i < streams(tile) * pieces; i += kThreads) {
            const int column = i / pieces, piece = i % pieces;
            simt::store_words(ring(first_stream(tile) + column, layer, call.time + step) + piece * 16,
                              simt::load_words(activations() + column * p.shared.vector + piece * 16));
        }
    }

    // One layer from encoded x: z to its slot, the new residual stream to this block's x or the next block's.
    WAVEGEN_DEVICE void layer(int tile, int64_t step, int index, int slot) const {
        const int lane = simt::lane();
        const Matrix current = matrix(index, kCurrent, 2 * sizes.gate, sizes.residual);
        for (int m = simt::warp(); m < sizes.gate / 8; m += kWarps) {
            Quad past = simt::load_quad(floats(p.shared.past) + ((slot * int(sizes.gate / 8) + m) * kWarp + lane) * 4);
            Tile sums = {past.value[0], past.value[1], past.value[2], past.value[3]};
            accumulate<F>(sums, current, m, encoded());
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float value = gated<F == Format::kFp32>(sums[i], sums[i + 2]);
                put_activation<F>(z(slot) + (column_of(lane) + i) * p.shared.z_vector, sizes.gate, m * 8 + row_of(lane),
                                  F == Format::kInt8 ? value * kInt16 : value);
            }
        }
        remember(tile, step, index);
        simt::sync_block();
        if (index + 1 == layers()) return;
        const bool leaves = index + 1 == last;
        const Matrix residual = matrix(index, kResidual, sizes.residual, sizes.gate);
        float* to = leaves ? there(x(tile), rank + 1) : x(tile);
        for (int m = simt::warp(); m < sizes.residual / 16; m += kWarps) {
            Quad old = simt::load_quad(x(tile) + (m * kWarp + lane) * 4);
            Tile sums;
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[i] = old.value[i] + residual.bias[m * 16 + row_of(lane) + i / 2 * 8];
            accumulate<F>(sums, residual, m, gated_vectors(slot));
            simt::store_quad(to + (m * kWarp + lane) * 4, sums);
            if (F != Format::kInt8 && !leaves) {
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    put_activation<F>(activations() + (column_of(lane) + i % 2) * p.shared.vector, sizes.residual,
                                      m * 16 + row_of(lane) + i / 2 * 8, sums[i]);
            }
        }
        if (leaves) {
            signal(tile, kFlagX, rank + 1, step + 1);
            return;
        }
        simt::sync_block();
        if (F == Format::kInt8) {
            encode<false>(x(tile), sizes.residual);
            simt::sync_block();
        }
    }

    // Adds what layers [from, to) give to the skip sums, and passes these on after the block's last layer.
    WAVEGEN_DEVICE void sum_skip(int tile, int64_t step, int from, int to) const {
        const int lane = simt::lane();
        if (from == first && from > 0) await(tile, kFlagSkip, step + 1);
        const bool leaves = to == last;
        float* target = leaves ? there(skip(tile), rank + 1) : skip(tile);
        const float* bias = reinterpret_cast<const float*>(call.weights + sizes.skip_bias);
        for (int m = simt::warp(); m < sizes.skip / 16; m += kWarps) {
            Tile sums;
            if (from == 0) {
#pragma unroll
                for (int i = 0; i < 4; ++i) sums[i] = bias[m * 16 + row_of(lane) + i / 2 * 8];
            } else {
                Quad old = simt::load_quad(skip(tile) + (m * kWarp + lane) * 4);
#pragma unroll
                for (int i = 0; i < 4; ++i) sums[i] = old.value[i];
            }
            for (int l = from; l < to; ++l)
                accumulate<F>(sums, matrix(l, kSkip, sizes.skip, sizes.gate), m, gated_vectors(l - from));
            simt::store_quad(target + (m * kWarp + lane) * 4, sums);
        }
        if (leaves)
            signal(tile, kFlagSkip, rank + 1, step + 1);
        else
            simt::sync_block();
    }

    WAVEGEN_DEVICE void run_layers(int tile, int64_t step) const {
        for (int from = first; from < layers_end; from += p.plan.group) {
            const int to = from + p.plan.group < layers_end ? from + p.plan.group : layers_end;
            sum_past(tile, step, from, to);
            if (from == 0) {
                if (step > 0) await(tile, kFlagValue, step);
                embed(tile, step);
            } else if (from == first) {
                await(tile, kFlagX, step + 1);
            }
            if (from == first) encode<false>(x(tile), sizes.residual);
            simt::sync_block();
            for (int l = from; l < to; ++l) layer(tile, step, l, l - from);
            sum_skip(tile, step, from, to);
        }
    }

    // --- the head: the skip buffer holds its input, and after its first matrix what the second takes

    WAVEGEN_DEVICE void head1(int tile, int64_t step) const {
        const int lane = simt::lane();
        if (first == layers()) await(tile, kFlagSkip, step + 1);
        encode<true>(skip(tile), sizes.skip);
        simt::sync_block();
        const bool leaves = layers() + 1 == last;
        const Matrix m = matrix(layers(), kCurrent, sizes.head, sizes.skip);
        float* to = leaves ? there(skip(tile), rank + 1) : skip(tile);
        for (int i = simt::warp(); i < sizes.head / 16; i += kWarps) {
            Tile sums;
#pragma unroll
            for (int j = 0; j < 4; ++j) sums[j] = m.bias[i * 16 + row_of(lane) + j / 2 * 8];
            accumulate<F>(sums, m, i, encoded());
            simt::store_quad(to + (i * kWarp + lane) * 4, sums);
        }
        if (leaves)
            signal(tile, kFlagSkip, rank + 1, step + 1);
        else
            simt::sync_block();
    }

    WAVEGEN_DEVICE void head2(int tile, int64_t step) const {
        const int lane = simt::lane();
        if (first == layers() + 1) await(tile, kFlagSkip, step + 1);
        encode<true>(skip(tile), sizes.head);
        simt::sync_block();
        const Matrix m = matrix(layers() + 1, kCurrent, sizes.outputs, sizes.head);
        const int stride = skewed(int(sizes.outputs)) + 1;
        for (int i = simt::warp(); i < sizes.outputs / 16; i += kWarps) {
            Tile sums;
#pragma unroll
            for (int j = 0; j < 4; ++j) sums[j] = m.bias[i * 16 + row_of(lane) + j / 2 * 8];
            accumulate<F>(sums, m, i, encoded());
#pragma unroll
            for (int j = 0; j < 4; ++j)
                floats(p.shared.logits)[(column_of(lane) + j % 2) * stride +
                                        skewed(i * 16 + row_of(lane) + j / 2 * 8)] = sums[j];
        }
        simt::sync_block();
        if (simt::warp() < streams(tile)) draw(tile, step, floats(p.shared.logits) + simt::warp() * stride);
        signal(tile, kFlagValue, 0, step + 1);
    }

    // A warp draws its stream's sample, gives it out and sends it, or what is forced, to the first block.
    WAVEGEN_DEVICE void draw(int tile, int64_t step, float* outputs) const {
        const int64_t stream = first_stream(tile) + simt::warp(), at = stream * call.samples + step;
        const bool active = step < call.lengths[stream];
        const int count = int(call.sizes.outputs);
        const Sampler how = {call.temperature, call.top_p, call.top_k};
        if (active && call.parameters != nullptr)
            for (int i = simt::lane(); i < count; i += kWarp) call.parameters[at * count + i] = outputs[skewed(i)];
        simt::sync_warp();
        float value;
        if (call.sizes.output == Output::kSoftmax)
            value = float(sample_classes(outputs, count, how, call.uniforms[at]));
        else if (call.sizes.output == Output::kGaussian)
            value = sample_gaussian(outputs, how, call.uniforms[at]);
        else
            value = sample_logistics(outputs, count / 3, how, call.uniforms[2 * at], call.uniforms[2 * at + 1]);
        if (simt::lane() != 0) return;
        float fed = value;
        if (call.forced != nullptr)
            fed = call.sizes.output == Output::kSoftmax ? call.forced[at] : clamp_sample(call.forced[at]);
        if (active) {
            call.values[at] = value;
            *last_value(stream) = fed;
        }
        there(floats(p.shared.values), 0)[tile * kColumns + simt::warp()] = fed;
    }

    WAVEGEN_DEVICE void run() {
        if (first < last) settle();
        sync_all();  // every block has cleared its flags
        int64_t most = 0;
        if (first < last)
            for (int tile = 0; tile < p.plan.tiles; ++tile) most = steps(tile) > most ? steps(tile) : most;
        for (int64_t step = 0; step < most; ++step)
            for (int tile = 0; tile < p.plan.tiles; ++tile) {
                if (step >= steps(tile)) continue;
                if (first < layers()) run_layers(tile, step);
                if (first <= layers() && last > layers()) head1(tile, step);
                if (last > layers() + 1) head2(tile, step);
            }
        sync_all();  // no block leaves while another may write to it
    }
};

template <Format F>
WAVEGEN_KERNEL(kThreads, 1) generate_kernel(WAVEGEN_PARAMETER Parameters parameters) {
    Worker<F> worker(parameters);
    worker.run();
}

// After the call's blocks: the state's time goes on, and streams that have ended are marked: their rings stand still.
WAVEGEN_KERNEL(kThreads, 1) advance_kernel(WAVEGEN_PARAMETER GenerateCall call) {
    float* last = reinterpret_cast<float*>(call.state + sizeof(StateHeader));
    for (int64_t b = simt::thread(); b < call.streams; b += kThreads)
        if (call.lengths[b] < call.samples) last[b] = NAN;
    if (simt::thread() == 0) reinterpret_cast<StateHeader*>(call.state)->time = call.time + call.samples;
}

struct CheckParameters {
    RangeCheck check;
    int64_t stride;
};

WAVEGEN_KERNEL(kThreads, 1) check_kernel(WAVEGEN_PARAMETER CheckParameters p) {
    bool found = false;
    for (int64_t i = simt::block() * kThreads + simt::thread(); i < p.check.count; i += p.stride) {
        const float v = p.check.values[i];
        found |= !(v > p.check.low && v < p.check.high) || (p.check.whole && v != floorf(v));
    }
    if (found) *p.check.found = 1;
}

using Kernel = void (*)(Parameters);
Kernel kernel_of(Format f) {
    return f == Format::kFp32   ? generate_kernel<Format::kFp32>
           : f == Format::kBf16 ? generate_kernel<Format::kBf16>
                                : generate_kernel<Format::kInt8>;
}

int64_t unit_bytes(const Sizes& s, const Layout& a, int unit) {
    if (unit < s.layers) return a.layer - (unit + 1 < s.layers ? 0 : a.residual_matrix);
    return unit == s.layers ? a.head2 - a.head1 : a.total - a.head2;
}

// Deals units in order so that no block holds more than `most` bytes; whether that is enough blocks.
bool deal(const Sizes& s, const Layout& a, int64_t most, Plan* plan) {
    const int units = int(s.layers) + 2;
    int unit = 0;
    for (int b = 0; b < plan->cluster; ++b) {
        plan->first_unit[b] = unit;
        for (int64_t held = 0; unit < units && held + unit_bytes(s, a, unit) <= most; ++unit)
            held += unit_bytes(s, a, unit);
    }
    for (int b = plan->cluster; b <= kMaxCluster; ++b) plan->first_unit[b] = unit;
    return unit == units;
}

int most_units(const Plan& plan) {
    int most = 0;
    for (int b = 0; b < plan.cluster; ++b) most = int(larger(most, plan.first_unit[b + 1] - plan.first_unit[b]));
    return most;
}

// Shared memory beside resident matrices; takes as many layers into a group as a third of the memory holds.
bool fit_buffers(const Sizes& s, const Layout& a, size_t limit, Plan* plan) {
    const int units = most_units(*plan);
    for (plan->group = units < int(s.layers) ? units : int(s.layers); plan->group >= 1; --plan->group) {
        Shared m = share(s, a, units, plan->tiles, plan->group);
        if (m.resident <= int64_t(limit) && (m.resident - m.past <= int64_t(limit) / 3 || plan->group == 1)) {
            plan->shared_bytes = limit;
            return true;
        }
    }
    return false;
}

// The evenest dealing over a cluster.
void spread(const Sizes& s, const Layout& a, Plan* plan) {
    int64_t low = 0, high = a.total;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        (deal(s, a, middle, plan) ? high : low) = middle;
    }
    deal(s, a, high, plan);
}

// Whether a cluster of plan->cluster blocks can make all streams at once; then the plan stands.
bool plan_cluster(const Sizes& s, const Layout& a, int64_t streams, size_t limit, bool must_hold, Plan* plan) {
    spread(s, a, plan);
    plan->tiles = 1;
    if (!fit_buffers(s, a, limit, plan)) return false;
    Launch how = {plan->cluster, plan->cluster, kThreads, limit, nullptr};
    const int64_t room = simt::concurrent_clusters(kernel_of(s.format), how);
    if (room < 1 || streams > room * kMaxTiles * kColumns) return false;
    plan->clusters = streams < room ? streams : room;
    const int64_t each = (streams + plan->clusters - 1) / plan->clusters;
    plan->tiles = int((each + kColumns - 1) / kColumns);
    plan->columns = int((each + plan->tiles - 1) / plan->tiles);
    plan->clusters = (streams + plan->tiles * plan->columns - 1) / (plan->tiles * plan->columns);
    if (!fit_buffers(s, a, limit, plan)) return false;
    if (!must_hold) return true;
    for (int b = 0; b < plan->cluster; ++b) {
        int64_t bytes = share(s, a, most_units(*plan), plan->tiles, plan->group).resident;
        for (int unit = plan->first_unit[b]; unit < plan->first_unit[b + 1]; ++unit) bytes += unit_bytes(s, a, unit);
        if (bytes > int64_t(limit)) return false;
    }
    return true;
}

}  // namespace

const char* plan_generate(const Sizes& s, int64_t streams, int variant, Plan* plan) {
    const Layout a = lay_out(s);
    const size_t limit = simt::shared_memory_limit();
    if (variant != 1) {
        for (int pass = 0; pass < 2; ++pass)  // the smallest cluster that holds the network, else the largest there is
            for (int i = 0; i < 4; ++i) {
                plan->cluster = pass == 0 ? 2 << i : kMaxCluster >> i;
                if (variant > 1 && variant != plan->cluster) continue;
                if (plan_cluster(s, a, streams, limit, pass == 0, plan)) return nullptr;
            }
        if (variant > 1) return "no cluster of that size can make all these streams at once on this device";
    }
    *plan = Plan();
    spread(s, a, plan);
    plan->columns = kColumns;
    plan->clusters = (streams + kColumns - 1) / kColumns;
    if (!fit_buffers(s, a, limit, plan)) return "this device's blocks have too little shared memory for the network";
    return nullptr;
}

int launch_check(const RangeCheck& check, void* stream) {
    const int64_t wanted = (check.count + kThreads - 1) / kThreads, blocks = wanted < 1024 ? wanted : 1024;
    const Launch how = {blocks, 1, kThreads, 0, stream};
    return simt::launch(check_kernel, how, CheckParameters{check, blocks * kThreads});
}

int launch_generate(const GenerateCall& call, const Plan& plan, void* stream) {
    const Layout a = lay_out(call.sizes);
    Parameters parameters = {call, a, plan, share(call.sizes, a, most_units(plan), plan.tiles, plan.group)};
    Launch how = {plan.clusters * plan.cluster, plan.cluster, kThreads, plan.shared_bytes, stream};
    int error = simt::launch(kernel_of(call.sizes.format), how, parameters);
    if (error != 0) return error;
    return simt::launch(advance_kernel, Launch{1, 1, kThreads, 0, stream}, call);
}

}  // namespace wavegen::cuda
