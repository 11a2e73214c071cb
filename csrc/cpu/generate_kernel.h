// Autoregressive generation of WaveNet. Sizes, layouts and the call: generate.h.
//
// One thread takes some streams through all samples of a call. A sample costs one pass over the weights, which is what
// bounds a single stream: they come from the cache. So what does not have to wait is done for several samples at once:
// the older taps of a layer with dilation d read outputs that are d samples old, which are known for the next d samples,
// and their weights are read once for up to kAhead of these.
//
// Every output is a sum over chunks of columns, each one chain of multiply-adds in the columns' order, whatever the tile
// it was computed in, so a stream's samples depend neither on the other streams nor on how they are divided into calls.
#pragma once

#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "generate.h"
#include "sampling_kernel.h"
#include "vec.h"

namespace wavegen::WAVEGEN_ISA {

constexpr int64_t kAhead = 16;        // rows of look-ahead: samples × streams
constexpr int64_t kAheadBytes = 2048;     // how far before their use a single stream's weights are called
constexpr int64_t kChunkBytes = 1 << 15;  // of a panel, which stay in the first cache; short chains round less, too

// The input of a product: values as the format has them; for int8 its low plane, and what one unit is worth.
struct Row {
    const void* values;
    const uint8_t* low;
    float scale;
};

struct Fp32 {
    using Weight = float;
    using Value = float;
    static constexpr int kTogether = 1;
};
struct Bf16 {
    using Weight = uint16_t;
    using Value = uint16_t;
    static constexpr int kTogether = 2;
};
struct Int8 {
    using Weight = int8_t;
    using Value = uint8_t;  // two planes of them
    static constexpr int kTogether = 4;
};

template <typename F>
constexpr bool kIsInt8 = F::kTogether == 4;

// How many blocks of 16 outputs fit into registers beside `rows` inputs.
template <typename F>
constexpr int tile_blocks(int rows) {
#if defined(__AVX512F__)
    int most = kIsInt8<F> ? 8 : 16;  // int8 sums in two registers
    return rows == 1 ? 8 : most / rows;
#elif defined(__AVX2__)
    return kIsInt8<F> || rows > 2 ? 1 : 4 / rows;
#else
    return rows == 1 && !kIsInt8<F> ? 2 : 1;
#endif
}

WAVEGEN_INLINE uint32_t pair_at(const void* values, int64_t pair) {
    uint32_t x;
    memcpy(&x, static_cast<const char*>(values) + 4 * pair, 4);
    return x;
}

// Adds to blocks × 16 outputs of each of the rows the product of a part of a panel with `columns` of the rows, from
// column `start` on. `stride` weights lie between two steps of columns. Meanwhile it calls what lies `ahead` bytes
// further, which is what will be read next, into the cache.
template <typename F, int blocks, int rows>
inline void tile(const typename F::Weight* w, int64_t stride, int64_t start, int64_t columns, int64_t ahead,
                 const Row* x, float* const* out, int64_t at, const float* scales, const int32_t* offsets) {
    constexpr int kStep = 16 * F::kTogether;
    static_assert(kStep * sizeof(typename F::Weight) == 64, "a step of a block is one cache line");
    int64_t first = start / F::kTogether, steps = columns / F::kTogether;
    if constexpr (kIsInt8<F>) {
        Int8Sum acc[blocks][rows];
#pragma GCC unroll 16
        for (int b = 0; b < blocks; ++b)
#pragma GCC unroll 16
            for (int r = 0; r < rows; ++r) acc[b][r] = int8_zero();
        for (int64_t k = 0; k < steps; ++k) {
            const int8_t* here = w + k * stride;
#pragma GCC unroll 16
            for (int b = 0; b < blocks; ++b) __builtin_prefetch(here + kStep * b + ahead);
#pragma GCC unroll 16
            for (int r = 0; r < rows; ++r) {
                const uint8_t* high = static_cast<const uint8_t*>(x[r].values) + 4 * (first + k);
                const uint8_t* low = x[r].low + 4 * (first + k);
#pragma GCC unroll 16
                for (int b = 0; b < blocks; ++b) acc[b][r] = dot_int8(acc[b][r], here + kStep * b, high, low);
            }
        }
#pragma GCC unroll 16
        for (int b = 0; b < blocks; ++b)
#pragma GCC unroll 16
            for (int r = 0; r < rows; ++r) {
                float* o = out[r] + at + 16 * b;
                F16 unit = mul(load(scales + at + 16 * b), set1(x[r].scale));
                store(o, fma(to_float(total(acc[b][r], iload(offsets + at + 16 * b))), unit, load(o)));
            }
    } else {
        F16 acc[blocks][rows];
#pragma GCC unroll 16
        for (int b = 0; b < blocks; ++b)
#pragma GCC unroll 16
            for (int r = 0; r < rows; ++r) acc[b][r] = zero();
        for (int64_t k = 0; k < steps; ++k) {
            const auto* here = w + k * stride;
#pragma GCC unroll 16
            for (int b = 0; b < blocks; ++b)
                __builtin_prefetch(reinterpret_cast<const char*>(here + kStep * b) + ahead);
            if constexpr (F::kTogether == 1) {
                F16 v[rows];
#pragma GCC unroll 16
                for (int r = 0; r < rows; ++r) v[r] = set1(static_cast<const float*>(x[r].values)[first + k]);
#pragma GCC unroll 16
                for (int b = 0; b < blocks; ++b) {
                    F16 weights = load(here + kStep * b);
#pragma GCC unroll 16
                    for (int r = 0; r < rows; ++r) acc[b][r] = fma(weights, v[r], acc[b][r]);
                }
            } else {
#pragma GCC unroll 16
                for (int r = 0; r < rows; ++r) {
                    uint32_t v = pair_at(x[r].values, first + k);
#pragma GCC unroll 16
                    for (int b = 0; b < blocks; ++b) acc[b][r] = dot_bf16(acc[b][r], here + kStep * b, v);
                }
            }
        }
#pragma GCC unroll 16
        for (int b = 0; b < blocks; ++b)
#pragma GCC unroll 16
            for (int r = 0; r < rows; ++r) store(out[r] + at + 16 * b, add(load(out[r] + at + 16 * b), acc[b][r]));
    }
}

// A chunk of a panel: `blocks` of them, `columns` from `start` on.
template <typename F>
struct Chunk {
    const typename F::Weight* weights;
    int64_t blocks, start, columns, at;
    const float* scales;
    const int32_t* offsets;

    int64_t bytes() const { return blocks * 16 * columns * int64_t(sizeof(typename F::Weight)); }
};

// The blocks of a chunk from the `first` on for some rows, as many at a time as registers hold.
template <typename F, int rows, int blocks = tile_blocks<F>(rows)>
inline void pass(const Chunk<F>& c, int64_t first, int64_t ahead, const Row* x, float* const* out) {
    constexpr int kStep = 16 * F::kTogether;
    for (; c.blocks - first >= blocks; first += blocks)
        tile<F, blocks, rows>(c.weights + first * kStep, c.blocks * kStep, c.start, c.columns, ahead, x, out,
                              c.at + first * 16, c.scales, c.offsets);
    if constexpr (blocks > 1)
        if (first < c.blocks) pass<F, rows, blocks / 2>(c, first, ahead, x, out);
}

// out[r] += matrix · x[r], for any number of rows.
template <typename F>
inline void product(const Matrix& m, const Row* x, float* const* out, int64_t rows) {
    const auto* w = reinterpret_cast<const typename F::Weight*>(m.weights);
    for (int64_t at = 0; at < m.rows; at += kPanelBlocks * 16) {
        int64_t blocks = (m.rows - at) / 16 < kPanelBlocks ? (m.rows - at) / 16 : kPanelBlocks;
        constexpr int64_t most = kIsInt8<F> ? kInt8Columns : kChunkBytes / 64 / kPanelBlocks * F::kTogether;
        for (int64_t start = 0; start < m.columns; start += most) {
            int64_t columns = m.columns - start < most ? m.columns - start : most;
            const int32_t* offsets = kIsInt8<F> ? m.offsets + start / kInt8Columns * m.rows : nullptr;
            Chunk<F> c{w, blocks, start, columns, at, m.scales, offsets};
            int64_t ahead = rows == 1 ? kAheadBytes : c.bytes();
            int64_t r = 0;
            if constexpr (!kIsInt8<F>)  // whose sums and inputs' planes would not all fit into registers
                for (; rows - r >= 8; r += 8) pass<F, 8>(c, 0, ahead, x + r, out + r);
            for (; rows - r >= 4; r += 4) pass<F, 4>(c, 0, ahead, x + r, out + r);
            for (; rows - r >= 2; r += 2) pass<F, 2>(c, 0, ahead, x + r, out + r);
            for (; r < rows; ++r) pass<F, 1>(c, 0, ahead, x + r, out + r);
            w += blocks * 16 * columns;
        }
    }
}

// A vector of floats as the format's products take it: int8 at the scale that its largest value needs. `count` is a
// multiple of 16; for int8 the low plane lies `plane` bytes after the high one.
template <typename F>
inline float as_values(const float* x, int64_t count, typename F::Value* out, int64_t plane) {
    if constexpr (F::kTogether == 1) {
        for (int64_t i = 0; i < count; i += 16) store(out + i, load(x + i));
    } else if constexpr (F::kTogether == 2) {
        for (int64_t i = 0; i < count; i += 16) store_bf16(out + i, load(x + i));
    } else {
        F16 most = zero();
        for (int64_t i = 0; i < count; i += 16) most = max(most, absolute(load(x + i)));
        float peak = largest(most);
        F16 inverse = set1(peak > 0.0f ? 32767.0f / peak : 0.0f);
        for (int64_t i = 0; i < count; i += 16) store_planes(out + i, out + plane + i, mul(load(x + i), inverse));
        return peak / 32767.0f;
    }
    return 1.0f;
}

// The gate's 16 outputs; they lie in [-1, 1], so that their scale is known.
template <typename F>
WAVEGEN_INLINE void store_gate(typename F::Value* out, int64_t plane, F16 z) {
    if constexpr (F::kTogether == 1) store(out, z);
    else if constexpr (F::kTogether == 2) store_bf16(out, z);
    else store_planes(out, out + plane, mul(z, set1(32767.0f)));
}
constexpr float kGateUnit = 1.0f / 32767.0f;

// Memory of one thread, aligned to cache lines, handed out piece by piece with a line between them, which
// AddressSanitizer watches.
class Arena {
  public:
    explicit Arena(int64_t bytes) : memory_(static_cast<uint8_t*>(std::aligned_alloc(64, aligned(bytes)))) {
        if (memory_ != nullptr) memset(memory_, 0, aligned(bytes));
    }
    ~Arena() {
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(memory_, size_t(at_));
#endif
        std::free(memory_);
    }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    bool ok() const { return memory_ != nullptr; }
    template <typename T>
    T* take(int64_t count) {
        T* here = reinterpret_cast<T*>(memory_ + at_);
        at_ += aligned(count * int64_t(sizeof(T)));
#if defined(__SANITIZE_ADDRESS__)
        __asan_poison_memory_region(memory_ + at_, 64);
#endif
        at_ += 64;
        return here;
    }

  private:
    uint8_t* memory_;
    int64_t at_ = 0;
};

// One thread's streams.
template <typename F>
class Generator {
    using Value = typename F::Value;
    static constexpr int64_t kPlanes = kIsInt8<F> ? 2 : 1;

  public:
    static int64_t bytes(const GenerateCall& call, int64_t n) {
        const Network& net = *call.network;
        int64_t most = n > kAhead ? n : kAhead;
        int64_t floats = n * (net.residual() + 2 * net.gate() + padded(net.sizes.skip) + padded(net.sizes.head) +
                              2 * padded(net.sizes.outputs)) + most * net.sizes.layers * 2 * net.gate();
        int64_t values = n * (net.sizes.layers * net.gate() + padded(net.sizes.skip) + padded(net.sizes.head));
        int64_t rest = 16 * net.sizes.layers + 64 * most + 64 * n;
        return 4 * floats + 4 * values + rest + 4 * padded(net.sizes.outputs) + 2 * 64 * 32;
    }

    Generator(const GenerateCall& call, int64_t first, int64_t last, Arena& arena)
        : call_(call), net_(*call.network), first_(first), count_(last - first) {
        const Sizes& s = net_.sizes;
        residual_ = net_.residual();
        gate_ = net_.gate();
        ahead_rows_ = count_ >= kAhead ? 1 : kAhead / count_;
        int64_t most = count_ > kAhead ? count_ : kAhead;
        x_ = arena.take<float>(count_ * residual_);
        before_gate_ = arena.take<float>(count_ * 2 * gate_);
        ahead_ = arena.take<float>(most * s.layers * 2 * gate_);
        skip_ = arena.take<float>(count_ * padded(s.skip));
        head_ = arena.take<float>(count_ * padded(s.head));
        outputs_ = arena.take<float>(count_ * padded(s.outputs));
        gated_ = arena.take<Value>(count_ * s.layers * gate_ * kPlanes);
        skip_values_ = arena.take<Value>(count_ * padded(s.skip) * kPlanes);
        head_values_ = arena.take<Value>(count_ * padded(s.head) * kPlanes);
        ring_at_ = arena.take<int64_t>(s.layers);
        now_ = arena.take<int64_t>(s.layers);
        active_ = arena.take<int64_t>(count_);
        rows_ = arena.take<Row>(most);
        targets_ = arena.take<float*>(most);
        room_.mass = arena.take<float>(padded(s.outputs));
        room_.heap = arena.take<int32_t>(padded(s.outputs));
        values_ = reinterpret_cast<float*>(call.state + aligned(sizeof(StateHeader)));
        slot_ = slot_bytes(s);
        int64_t slots = 0;
        for (int64_t l = 0; l < s.layers; ++l) {
            ring_at_[l] = slots;
            now_[l] = call.time % ring_size(l);
            slots += (s.width - 1) * call.layers[l].dilation;
        }
        rings_ = call.state + aligned(sizeof(StateHeader)) + aligned(4 * call.streams);
        stream_bytes_ = slots * slot_;
        phase_ = call.time % s.hop;
    }

    // False if the network's outputs are not finite: weights or conditioning are too large for floats.
    bool run() {
        for (int64_t i = 0; i < call_.samples && finite_;) {
            int64_t stop = i + ahead_rows_;
            n_ = 0;
            for (int64_t b = first_; b < first_ + count_; ++b)
                if (call_.lengths[b] > i) {
                    active_[n_++] = b;
                    if (call_.lengths[b] < stop) stop = call_.lengths[b];
                }
            if (n_ == 0) break;
            block_ = stop - i;
            for (int64_t j = 0; j < block_; ++j) {
                step(i + j, j);
                advance();
            }
            i = stop;
        }
        return finite_;
    }

  private:
    // Moves every ring, and the place in the frame, on by a sample. (Divisions would take longer than a layer's sums.)
    void advance() {
        for (int64_t l = 0; l < net_.sizes.layers; ++l)
            if (++now_[l] == ring_size(l)) now_[l] = 0;
        if (++phase_ == net_.sizes.hop) {
            phase_ = 0;
            ++frame_;
        }
    }

    int64_t ring_size(int64_t l) const { return (net_.sizes.width - 1) * call_.layers[l].dilation; }

    // Slot of stream b's ring of layer l that lies `further` (less than the ring's size) than that of the present.
    uint8_t* slot(int64_t b, int64_t l, int64_t further) const {
        int64_t place = now_[l] + further, size = ring_size(l);
        return rings_ + b * stream_bytes_ + (ring_at_[l] + (place < size ? place : place - size)) * slot_;
    }

    Row row_of(const uint8_t* slot) const {
        Row row{slot, slot + residual_, 1.0f};
        if constexpr (kIsInt8<F>) memcpy(&row.scale, slot + 2 * residual_, 4);
        return row;
    }

    // Stream a's gate outputs of layer l, and of all that follow.
    Row gated(int64_t a, int64_t l) const {
        Value* z = gated_ + (a * kPlanes * net_.sizes.layers + l) * gate_;
        return Row{z, reinterpret_cast<const uint8_t*>(z) + net_.sizes.layers * gate_, kGateUnit};
    }

    // Sample i of this call, the j-th of its block, of all active streams.
    void step(int64_t i, int64_t j) {
        const Sizes& s = net_.sizes;
        for (int64_t a = 0; a < n_; ++a) embed(values_[active_[a]], x_ + a * residual_);
        for (int64_t l = 0; l < s.layers; ++l) layer(l, i, j);
        for (int64_t a = 0; a < n_; ++a) {
            rows_[a] = gated(a, 0);
            targets_[a] = skip_ + a * padded(s.skip);
            copy(net_.skip_bias, targets_[a], padded(s.skip));
        }
        product<F>(net_.skip, rows_, targets_, n_);
        dense(skip_, padded(s.skip), skip_values_, net_.head1, net_.head1_bias, head_);
        dense(head_, padded(s.head), head_values_, net_.head2, net_.head2_bias, outputs_);
        for (int64_t a = 0; a < n_; ++a) finish(a, i);
    }

    // The network's input vector from the value before.
    void embed(float value, float* x) const {
        if (net_.sizes.output == Output::kSoftmax) {
            copy(net_.input + int64_t(value) * residual_, x, residual_);
            return;
        }
        for (int64_t c = 0; c < residual_; c += 16)
            store(x + c, fma(set1(value), load(net_.input + c), load(net_.input + residual_ + c)));
    }

    void layer(int64_t l, int64_t i, int64_t j) {
        const Layer& layer = call_.layers[l];
        // A dilation of d leaves the older taps' inputs known for d samples.
        int64_t run = layer.dilation < ahead_rows_ ? layer.dilation : ahead_rows_;
        float* ahead = ahead_ + l * ahead_rows_ * n_ * 2 * gate_;
        int64_t place = run == 1 ? 0 : j % run;
        if (place == 0) look_ahead(l, run < block_ - j ? run : block_ - j, ahead);
        ahead += place * n_ * 2 * gate_;
        for (int64_t a = 0; a < n_; ++a) {
            // After the look-ahead, which reads what this slot held before.
            uint8_t* mine = slot(active_[a], l, 0);
            float scale = as_values<F>(x_ + a * residual_, residual_, reinterpret_cast<Value*>(mine), residual_);
            if constexpr (kIsInt8<F>) memcpy(mine + 2 * residual_, &scale, 4);
            rows_[a] = Row{mine, mine + residual_, scale};
            targets_[a] = before_gate_ + a * 2 * gate_;
            condition(l, active_[a], ahead + a * 2 * gate_, targets_[a]);
        }
        product<F>(layer.current, rows_, targets_, n_);
        for (int64_t a = 0; a < n_; ++a) {
            rows_[a] = gated(a, l);
            Value* z = gated_ + (a * kPlanes * net_.sizes.layers + l) * gate_;
            const float* before = before_gate_ + a * 2 * gate_;
            for (int64_t c = 0; c < gate_; c += 16)
                store_gate<F>(z + c, net_.sizes.layers * gate_, gate(load(before + c), load(before + gate_ + c)));
            targets_[a] = x_ + a * residual_;
        }
        if (l + 1 == net_.sizes.layers) return;
        const float* bias = net_.residual_bias + l * residual_;
        for (int64_t a = 0; a < n_; ++a)
            for (int64_t c = 0; c < residual_; c += 16) store(targets_[a] + c, add(load(targets_[a] + c), load(bias + c)));
        product<F>(layer.residual, rows_, targets_, n_);
    }

    // What the older taps of layer l add at the next `run` samples: [run][streams][2 gate].
    void look_ahead(int64_t l, int64_t run, float* ahead) {
        const Layer& layer = call_.layers[l];
        int64_t taps = net_.sizes.width - 1;
        memset(ahead, 0, size_t(run * n_ * 2 * gate_) * 4);
        for (int64_t tap = 0; tap < taps; ++tap) {
            for (int64_t r = 0; r < run; ++r)
                for (int64_t a = 0; a < n_; ++a) {
                    // The oldest tap's slot is the one that the present will overwrite.
                    rows_[r * n_ + a] = row_of(slot(active_[a], l, tap * layer.dilation + r));
                    targets_[r * n_ + a] = ahead + (r * n_ + a) * 2 * gate_;
                }
            product<F>(layer.older[tap], rows_, targets_, run * n_);
        }
    }

    // The pre-activation before the current tap: older taps, bias, and the mel's frames around the present.
    void condition(int64_t l, int64_t b, const float* ahead, float* out) const {
        const Sizes& s = net_.sizes;
        int64_t step = s.layers * 2 * gate_;
        const float* c = call_.conditioning + (b * call_.frames + frame_) * step + l * 2 * gate_;
        const float* bias = net_.gate_bias + l * 2 * gate_;
        const float* u = net_.interpolation + phase_;
        F16 u0 = set1(u[0]), u1 = set1(u[s.hop]), u2 = set1(u[2 * s.hop]);
        for (int64_t k = 0; k < 2 * gate_; k += 16) {
            F16 sum = fma(u0, load(c + k), load(bias + k));
            sum = fma(u1, load(c + step + k), sum);
            sum = fma(u2, load(c + 2 * step + k), sum);
            store(out + k, add(load(ahead + k), sum));
        }
    }

    // out = matrix · relu(in) + bias for all streams.
    void dense(float* in, int64_t columns, Value* values, const Matrix& m, const float* bias, float* out) {
        for (int64_t a = 0; a < n_; ++a) {
            float* x = in + a * columns;
            for (int64_t c = 0; c < columns; c += 16) store(x + c, max(load(x + c), zero()));
            Value* mine = values + a * kPlanes * columns;
            float scale = as_values<F>(x, columns, mine, columns);
            rows_[a] = Row{mine, reinterpret_cast<const uint8_t*>(mine) + columns, scale};
            targets_[a] = out + a * m.rows;
            copy(bias, targets_[a], m.rows);
        }
        product<F>(m, rows_, targets_, n_);
    }

    void finish(int64_t a, int64_t i) {
        int64_t b = active_[a], at = b * call_.samples + i, outputs = net_.sizes.outputs;
        const float* o = outputs_ + a * padded(outputs);
        F16 none = zero();
        for (int64_t c = 0; c < padded(outputs); c += 16) none = fma(load(o + c), zero(), none);
        if (sum(none) != 0.0f) {  // infinity times zero is NaN, which is unequal to all
            finite_ = false;
            return;
        }
        if (call_.parameters != nullptr) memcpy(call_.parameters + at * outputs, o, size_t(outputs) * 4);
        float value = sample(call_, o, call_.uniforms + at * net_.uniforms(), room_);
        call_.values[at] = value;
        values_[b] = call_.forced == nullptr ? value : call_.forced[at];
    }

    static void copy(const float* from, float* to, int64_t count) {
        for (int64_t c = 0; c < count; c += 16) store(to + c, load(from + c));
    }

    const GenerateCall& call_;
    const Network& net_;
    int64_t first_, count_, n_ = 0, block_ = 0;
    bool finite_ = true;
    int64_t residual_, gate_, ahead_rows_, slot_, stream_bytes_;
    int64_t phase_, frame_ = 0;  // of the present: its sample in its frame, and its frame in this call
    float *x_, *before_gate_, *ahead_, *skip_, *head_, *outputs_, *values_;
    Value *gated_, *skip_values_, *head_values_;
    int64_t *ring_at_, *now_, *active_;
    Row* rows_;
    float** targets_;
    uint8_t* rings_;
    SamplingRoom room_;
};

template <typename F>
inline Outcome generate_as(const GenerateCall& call, int64_t first, int64_t last) {
    Arena arena(Generator<F>::bytes(call, last - first));
    if (!arena.ok()) return Outcome::kNoMemory;
    return Generator<F>(call, first, last, arena).run() ? Outcome::kDone : Outcome::kOverflow;
}

// Streams first … last - 1 of a call.
inline Outcome generate(const GenerateCall& call, int64_t first, int64_t last) {
    switch (call.network->sizes.format) {
        case Format::kFp32: return generate_as<Fp32>(call, first, last);
        case Format::kBf16: return generate_as<Bf16>(call, first, last);
        default: return generate_as<Int8>(call, first, last);
    }
}

}  // namespace wavegen::WAVEGEN_ISA
