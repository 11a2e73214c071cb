// The gated dilated layer, forward and backward; compiled once per instruction set.
//
// Everything is one of two matrix products on tiles of time that are packed into a worker's scratch:
//
//   over channels:  out[m][t] = sum_k weight[m][k] columns[k][t]         lanes are time, weights are broadcast
//   over time:      out[k][m] = sum_t rows[k][t] lanes[t][m]             lanes are channels; gives the weight gradients
//
// Both keep a block of kRows x kVectors accumulators in registers. Columns are packed in panels as wide as a block,
// [panel][k][kPanel], so that taps, conditioning and padding cost nothing in the product. With bf16 dot products a word
// holds two values: of neighbouring channels in columns, of neighbouring samples in rows and lanes.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "layer.h"
#include "vec.h"

namespace wavegen::WAVEGEN_ISA {

#if defined(__AVX512F__)
constexpr int kBlockRows = 8, kBlockVectors = 3;
#elif defined(__AVX2__)
constexpr int kBlockRows = 6, kBlockVectors = 1;
#elif defined(__aarch64__)
constexpr int kBlockRows = 4, kBlockVectors = 1;
#else
constexpr int kBlockRows = 2, kBlockVectors = 1;
#endif

// Unlike vec.h's clamp, lets NaN through: both instructions return their second operand then.
WAVEGEN_INLINE F16 clamp_or_nan(F16 x, float low, float high) { return min(set1(high), max(set1(low), x)); }

struct GateParts {
    F16 d, e, f;  // e^-2a - 1, e^-2a + 1, e^-b + 1
};

WAVEGEN_INLINE GateParts gate_parts(F16 a, F16 b) {
    F16 p, q;
    F16 scale = exp_parts(mul(clamp_or_nan(a, -10.0f, 10.0f), set1(-2.0f)), &p);
    F16 d = fma(scale, p, sub(scale, set1(1.0f)));
    F16 other = exp_parts(sub(zero(), clamp_or_nan(b, -40.0f, 40.0f)), &q);
    return {d, add(d, set1(2.0f)), fma(other, q, add(other, set1(1.0f)))};
}

// Four doubles; speed does not matter.
struct D4 {
    double lane[4];
};

template <typename Function>
WAVEGEN_INLINE D4 each_lane(Function function) {
    return {{function(0), function(1), function(2), function(3)}};
}

// The arithmetic of the accumulators.
struct SingleLanes {
    using Real = float;
    using Vector = F16;
    static constexpr int kLanes = 16, kRows = kBlockRows, kVectors = kBlockVectors;
    static WAVEGEN_INLINE F16 fill(float x) { return set1(x); }
    static WAVEGEN_INLINE F16 load(const float* p) { return WAVEGEN_ISA::load(p); }
    static WAVEGEN_INLINE void store(float* p, F16 x) { WAVEGEN_ISA::store(p, x); }
    static WAVEGEN_INLINE F16 add(F16 a, F16 b) { return WAVEGEN_ISA::add(a, b); }
    static WAVEGEN_INLINE float sum(F16 x) { return WAVEGEN_ISA::sum(x); }
    static WAVEGEN_INLINE F16 gate(F16 a, F16 b) {
        GateParts g = gate_parts(a, b);
        return div(sub(zero(), g.d), mul(g.e, g.f));
    }
    // z = tanh(a) sigmoid(b), and dz times its derivatives in place of a and b.
    static WAVEGEN_INLINE F16 gate_backward(F16 dz, F16* a, F16* b) {
        GateParts g = gate_parts(*a, *b);
        F16 inverse = div(set1(1.0f), mul(g.e, g.f));
        F16 tanh_a = mul(sub(zero(), g.d), mul(g.f, inverse)), sigmoid_b = mul(g.e, inverse);
        F16 z = mul(tanh_a, sigmoid_b);
        *a = mul(mul(dz, sigmoid_b), fma(sub(zero(), tanh_a), tanh_a, set1(1.0f)));
        *b = mul(mul(dz, z), sub(set1(1.0f), sigmoid_b));
        return z;
    }
};

struct DoubleLanes {
    using Real = double;
    using Vector = D4;
    static constexpr int kLanes = 4, kRows = 2, kVectors = 1;
    static WAVEGEN_INLINE D4 fill(double x) { return {{x, x, x, x}}; }
    static WAVEGEN_INLINE D4 load(const double* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static WAVEGEN_INLINE void store(double* p, D4 x) { memcpy(p, x.lane, sizeof x.lane); }
    static WAVEGEN_INLINE D4 add(D4 a, D4 b) {
        return each_lane([&](int i) { return a.lane[i] + b.lane[i]; });
    }
    static WAVEGEN_INLINE double sum(D4 x) { return (x.lane[0] + x.lane[1]) + (x.lane[2] + x.lane[3]); }
    static WAVEGEN_INLINE double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }
    static WAVEGEN_INLINE D4 gate(D4 a, D4 b) {
        return each_lane([&](int i) { return ::tanh(a.lane[i]) * sigmoid(b.lane[i]); });
    }
    static WAVEGEN_INLINE D4 gate_backward(D4 dz, D4* a, D4* b) {
        D4 z;
        for (int i = 0; i < 4; ++i) {
            double tanh_a = ::tanh(a->lane[i]), sigmoid_b = sigmoid(b->lane[i]);
            z.lane[i] = tanh_a * sigmoid_b;
            a->lane[i] = dz.lane[i] * sigmoid_b * (1.0 - tanh_a * tanh_a);
            b->lane[i] = dz.lane[i] * z.lane[i] * (1.0 - sigmoid_b);
        }
        return z;
    }
};

// A format: how tensors are stored, and the words that products are made of.
struct Fp32Format : SingleLanes {
    using Stored = float;
    using Word = float;
    using Words = F16;
    static constexpr int kPack = 1;
    static WAVEGEN_INLINE Words load_words(const float* p) { return WAVEGEN_ISA::load(p); }
    static WAVEGEN_INLINE Words broadcast(const float* p) { return set1(*p); }
    static WAVEGEN_INLINE F16 multiply_add(Words a, Words b, F16 sum) { return fma(a, b, sum); }
    static WAVEGEN_INLINE F16 load_stored(const float* p) { return WAVEGEN_ISA::load(p); }
    static WAVEGEN_INLINE void store_stored(float* p, F16 x) { WAVEGEN_ISA::store(p, x); }
    static WAVEGEN_INLINE float to_real(float x) { return x; }
    static WAVEGEN_INLINE float from_real(float x) { return x; }
    static WAVEGEN_INLINE float word(const float* values) { return values[0]; }
};

WAVEGEN_INLINE float widen(uint16_t x) {
    uint32_t bits = uint32_t(x) << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

WAVEGEN_INLINE uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#if defined(__AVX512BF16__)
// Products of bf16 pairs, summed in fp32.
struct Bf16Format : SingleLanes {
    using Stored = uint16_t;
    using Word = uint32_t;
    using Words = I16;
    static constexpr int kPack = 2;
    static WAVEGEN_INLINE Words load_words(const uint32_t* p) { return iload(p); }
    static WAVEGEN_INLINE Words broadcast(const uint32_t* p) { return iset1(int32_t(*p)); }
    static WAVEGEN_INLINE F16 multiply_add(Words a, Words b, F16 sum) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
    static WAVEGEN_INLINE F16 load_stored(const uint16_t* p) { return load_bf16(p); }
    static WAVEGEN_INLINE void store_stored(uint16_t* p, F16 x) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x));
    }
    static WAVEGEN_INLINE float to_real(uint16_t x) { return widen(x); }
    static WAVEGEN_INLINE uint16_t from_real(float x) { return narrow(x); }
    static WAVEGEN_INLINE uint32_t word(const uint16_t* values) { return values[0] | uint32_t(values[1]) << 16; }
};
#else
// bf16 in memory only: widened when a tile is packed.
struct Bf16Format : SingleLanes {
    using Stored = uint16_t;
    using Word = float;
    using Words = F16;
    static constexpr int kPack = 1;
    static WAVEGEN_INLINE Words load_words(const float* p) { return WAVEGEN_ISA::load(p); }
    static WAVEGEN_INLINE Words broadcast(const float* p) { return set1(*p); }
    static WAVEGEN_INLINE F16 multiply_add(Words a, Words b, F16 sum) { return fma(a, b, sum); }
    static WAVEGEN_INLINE F16 load_stored(const uint16_t* p) { return load_bf16(p); }
    static WAVEGEN_INLINE void store_stored(uint16_t* p, F16 x) { store_bf16(p, x); }
    static WAVEGEN_INLINE float to_real(uint16_t x) { return widen(x); }
    static WAVEGEN_INLINE uint16_t from_real(float x) { return narrow(x); }
    static WAVEGEN_INLINE float word(const uint16_t* values) { return widen(values[0]); }
};
#endif

struct Fp64Format : DoubleLanes {
    using Stored = double;
    using Word = double;
    using Words = D4;
    static constexpr int kPack = 1;
    static WAVEGEN_INLINE Words load_words(const double* p) { return load(p); }
    static WAVEGEN_INLINE Words broadcast(const double* p) { return fill(*p); }
    static WAVEGEN_INLINE D4 multiply_add(Words a, Words b, D4 sum) {
        return each_lane([&](int i) { return a.lane[i] * b.lane[i] + sum.lane[i]; });
    }
    static WAVEGEN_INLINE D4 load_stored(const double* p) { return load(p); }
    static WAVEGEN_INLINE void store_stored(double* p, D4 x) { store(p, x); }
    static WAVEGEN_INLINE double to_real(double x) { return x; }
    static WAVEGEN_INLINE double from_real(double x) { return x; }
    static WAVEGEN_INLINE double word(const double* values) { return values[0]; }
};

WAVEGEN_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
WAVEGEN_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
WAVEGEN_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
WAVEGEN_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Where tap j reads, relative to the sample it contributes to.
WAVEGEN_INLINE int64_t tap_offset(const LayerShape& s, int64_t tap) {
    return (tap - (s.causal ? s.width - 1 : s.width / 2)) * s.dilation;
}

#if defined(__AVX512F__)
// 16 x 16 words of 32 bits.
WAVEGEN_INLINE void transpose_16(const void* source, int64_t source_step, void* target, int64_t target_step) {
    const char* from = static_cast<const char*>(source);
    char* to = static_cast<char*>(target);
    __m512i r[16], s[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = iload(from + i * source_step);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    // r[4 q + c] holds columns c, 4 + c, 8 + c, 12 + c of rows 4 q to 4 q + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        __m512i low = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        __m512i high = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        __m512i low_odd = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        __m512i high_odd = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        _mm512_storeu_si512(to + c * target_step, _mm512_shuffle_i32x4(low, high, 0x88));
        _mm512_storeu_si512(to + (4 + c) * target_step, _mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
        _mm512_storeu_si512(to + (8 + c) * target_step, _mm512_shuffle_i32x4(low, high, 0xdd));
        _mm512_storeu_si512(to + (12 + c) * target_step, _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd));
    }
}
#endif

template <typename F>
struct Layer {
    using Stored = typename F::Stored;
    using Word = typename F::Word;
    using Real = typename F::Real;
    using Vector = typename F::Vector;
    using Words = typename F::Words;
    static constexpr int kRows = F::kRows, kVectors = F::kVectors, kLanes = F::kLanes, kPack = F::kPack;
    static constexpr int kPanel = kVectors * kLanes;  // samples a panel
    static constexpr int kSteps = kPanel / kPack;     // words of a panel's row
    static constexpr int kPart = 128;                 // words summed at a stretch
    static constexpr int kGates = kRows / 2;          // a block of pre-activations: kGates of tanh, then of sigmoid
    static_assert(kGates % kPack == 0 && kPanel % kPack == 0, "pairs must not straddle blocks");
    using Block = Vector[kRows][kVectors];

    // ---- The two products.

    static WAVEGEN_INLINE void clear(Block& block) {
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) block[i][j] = F::fill(0);
    }

    // sum += a b, a part of the depth at a time, so that rounding errors grow as the root of a part, not of the whole.
    static WAVEGEN_INLINE void multiply(Block& sum, const Word* a, const Word* b, int64_t depth) {
        alignas(64) Real earlier[kRows * kPanel];
        for (int64_t start = 0; start < depth; start += kPart) {
            for (int64_t k = start; k < least(start + kPart, depth); ++k, a += kRows, b += kPanel) {
                Words x[kVectors];
#pragma GCC unroll 4
                for (int j = 0; j < kVectors; ++j) x[j] = F::load_words(b + j * kLanes);
#pragma GCC unroll 16
                for (int row = 0; row < kRows; ++row) {
                    Words w = F::broadcast(a + row);
#pragma GCC unroll 4
                    for (int j = 0; j < kVectors; ++j) sum[row][j] = F::multiply_add(w, x[j], sum[row][j]);
                }
            }
            bool last = start + kPart >= depth;
            if (last && start == 0) return;
#pragma GCC unroll 16
            for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 4
                for (int j = 0; j < kVectors; ++j) {
                    Real* place = earlier + (row * kVectors + j) * kLanes;
                    Vector total = start == 0 ? sum[row][j] : F::add(F::load(place), sum[row][j]);
                    F::store(place, total);
                    sum[row][j] = last ? total : F::fill(0);
                }
        }
    }

    // For every block of rows and every panel: epilogue(first row, panel, block). Weights are [block][depth][kRows].
    template <typename Epilogue>
    static WAVEGEN_INLINE void over_channels(const Word* weights, const Real* bias, int64_t blocks, int64_t depth,
                                             const Word* columns, int64_t panel_step, int64_t panels,
                                             Epilogue epilogue) {
        // Whichever fits the first-level cache stays while the other streams past it.
        bool panel_stays = depth * kPanel * int64_t(sizeof(Word)) <= 32 << 10;
        int64_t inner = panel_stays ? blocks : panels;
        for (int64_t i = 0; i < blocks * panels; ++i) {
            int64_t block = panel_stays ? i % inner : i / inner, panel = panel_stays ? i / inner : i % inner;
            const Word* a = weights + block * depth * kRows;
            const Word* b = columns + panel * panel_step;
            Block sum;
            if (bias == nullptr) {
                clear(sum);
            } else {
#pragma GCC unroll 16
                for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 4
                    for (int j = 0; j < kVectors; ++j) sum[row][j] = F::fill(bias[block * kRows + row]);
            }
            multiply(sum, a, b, depth);
            epilogue(block, panel, sum);
        }
    }

    template <int vectors>
    static void over_time_block(Real* out, int64_t out_step, const Word* rows, int64_t panel_step, const Word* lanes,
                                int64_t panels) {
        Vector sum[kRows][vectors];
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; ++j) sum[i][j] = F::fill(0);
        for (int64_t panel = 0; panel < panels; ++panel) {
            const Word* a = rows + panel * panel_step;
            for (int step = 0; step < kSteps; ++step, ++a, lanes += vectors * kLanes) {
                Words x[vectors];
#pragma GCC unroll 4
                for (int j = 0; j < vectors; ++j) x[j] = F::load_words(lanes + j * kLanes);
#pragma GCC unroll 16
                for (int i = 0; i < kRows; ++i) {
                    Words w = F::broadcast(a + i * kSteps);
#pragma GCC unroll 4
                    for (int j = 0; j < vectors; ++j) sum[i][j] = F::multiply_add(w, x[j], sum[i][j]);
                }
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; ++j) {
                Real* place = out + i * out_step + j * kLanes;
                F::store(place, F::add(F::load(place), sum[i][j]));
            }
    }

    // How many of the remaining vectors of lanes the next block takes: no block of one if that can be helped.
    static WAVEGEN_INLINE int64_t block_vectors(int64_t remaining) {
        return remaining == kVectors + 1 && kVectors > 2 ? 2 : least(remaining, kVectors);
    }

    // out[row][lane] += sum_t rows[row][t] lanes[t][lane]; rows [panel][row][kSteps], lanes as from transpose().
    static void over_time(Real* out, int64_t vectors, const Word* rows, int64_t row_count, const Word* lanes,
                          int64_t lane_steps, int64_t panels) {
        int64_t step = vectors * kLanes;
        for (int64_t v = 0; v < vectors;) {
            int64_t taken = block_vectors(vectors - v);
            const Word* from = lanes + v * kLanes * lane_steps;
            for (int64_t row = 0; row < row_count; row += kRows) {
                Real* to = out + row * step + v * kLanes;
                const Word* a = rows + row * kSteps;
                if (taken == 1) over_time_block<1>(to, step, a, row_count * kSteps, from, panels);
                if (taken == 2 && kVectors >= 2) over_time_block<2>(to, step, a, row_count * kSteps, from, panels);
                if (taken == 3 && kVectors >= 3) over_time_block<3>(to, step, a, row_count * kSteps, from, panels);
            }
            v += taken;
        }
    }

    // lanes[block of vectors][step][lane] from rows[lane][step] of stored values; reads whole blocks of kLanes steps.
    static void transpose(const Stored* rows, int64_t row_step, int64_t vectors, int64_t steps, Word* lanes,
                          int64_t lane_steps) {
        for (int64_t v = 0; v < vectors;) {
            int64_t taken = block_vectors(vectors - v), to_step = taken * kLanes;
            Word* to = lanes + v * kLanes * lane_steps;
            for (int64_t i = 0; i < taken; ++i)
                for (int64_t step = 0; step < steps; step += kLanes)
                    transpose_block(rows + (v + i) * kLanes * row_step + step * kPack, row_step,
                                    to + step * to_step + i * kLanes, to_step);
            v += taken;
        }
    }

    static WAVEGEN_INLINE void transpose_block(const Stored* from, int64_t from_step, Word* to, int64_t to_step) {
#if defined(__AVX512F__)
        if constexpr (sizeof(Word) == 4 && sizeof(Stored) * kPack == 4) {
            transpose_16(from, from_step * int64_t(sizeof(Stored)), to, to_step * 4);
            return;
        }
#endif
        for (int i = 0; i < kLanes; ++i)
            for (int step = 0; step < kLanes; ++step) to[step * to_step + i] = F::word(from + i * from_step + step);
    }

    // ---- Packing.

    // row[start .. start + count), zero outside [0, length): the row itself where it can be, else a copy in spare.
    static const Stored* segment(const Stored* row, int64_t start, int64_t count, int64_t length, Stored* spare) {
        if (start >= 0 && start + count <= length) return row + start;
        int64_t first = most(0, -start), last = least(count, length - start);
        memset(spare, 0, size_t(count) * sizeof(Stored));
        if (first < last) memcpy(spare + first, row + start + first, size_t(last - first) * sizeof(Stored));
        return spare;
    }

    struct Source {
        const Stored* row;
        int64_t start, length;
    };

    // source(k) for k < count as columns [panel][column_rows][kPanel] and, where a word holds two values, also as rows
    // [panel][row_count][kSteps] (null: not wanted; else they are the same thing). sums (or null): of every row, added.
    template <typename Get>
    static WAVEGEN_INLINE void pack(Get source, int64_t count, int64_t panels, Word* columns, int64_t column_rows,
                                    Word* rows, int64_t row_count, Stored* spare, Real* sums) {
        for (int64_t k = 0; k < count; k += kPack) {
            const Stored* from[kPack];
            for (int i = 0; i < kPack; ++i) {
                Source s = k + i < count ? source(k + i) : Source{nullptr, 0, 0};
                from[i] = segment(s.row, s.start, panels * kPanel, s.length, spare + i * panels * kPanel);
            }
            Vector sum[kPack];
            for (int i = 0; i < kPack; ++i) sum[i] = F::fill(0);
            for (int64_t panel = 0; panel < panels; ++panel) {
                Word* to = columns + (panel * column_rows + k / kPack) * kPanel;
#pragma GCC unroll 4
                for (int j = 0; j < kVectors; ++j) {
                    int64_t at = panel * kPanel + j * kLanes;
                    if constexpr (kPack == 1) {
                        Vector x = F::load_stored(from[0] + at);
                        F::store(to + j * kLanes, x);
                        if (sums != nullptr) sum[0] = F::add(sum[0], x);
                    } else {
                        pack_pair(from[0] + at, from[1] + at, to + j * kLanes,
                                  rows == nullptr ? nullptr : rows + (panel * row_count + k) * kSteps + j * kLanes / 2,
                                  k + 1 < count, sums == nullptr ? nullptr : sum);
                    }
                }
            }
            for (int i = 0; i < kPack && sums != nullptr && k + i < count; ++i) sums[k + i] += F::sum(sum[i]);
        }
    }

    static WAVEGEN_INLINE void pack_pair(const uint16_t* even, const uint16_t* odd, Word* column, Word* row, bool both,
                                         Vector* sums) {
#if defined(__AVX512BF16__)
        __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(even));
        __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd));
        __m512i low = _mm512_cvtepu16_epi32(x), high = shift_left<16>(_mm512_cvtepu16_epi32(y));
        _mm512_storeu_si512(column, _mm512_or_si512(low, high));
        if (row != nullptr) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(row), x);
            if (both) _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + kSteps), y);
        }
        if (sums != nullptr) {
            sums[0] = F::add(sums[0], as_float(shift_left<16>(low)));
            sums[1] = F::add(sums[1], as_float(high));
        }
#endif
    }

    // weight(m, k) as [block][depth][kRows], zero where m or k is beyond; place(block, i) gives m.
    template <typename Get, typename Place>
    static void pack_weights(Word* out, int64_t blocks, int64_t depth, Get weight, Place place) {
        for (int64_t block = 0; block < blocks; ++block)
            for (int64_t k = 0; k < depth; ++k)
                for (int i = 0; i < kRows; ++i) {
                    Stored values[kPack];
                    for (int j = 0; j < kPack; ++j) values[j] = weight(place(block, i), k * kPack + j);
                    *out++ = F::word(values);
                }
    }

    static int64_t plain_place(int64_t block, int i) { return block * kRows + i; }

    // ---- Sizes.

    struct Sizes {
        int64_t inputs, input_depth, gate_blocks;   // what the pre-activations are made of, as rows and as words
        int64_t outputs, output_depth, out_blocks;  // residual and skip rows; words of z
        int64_t gates;                              // rounded up to whole blocks
        explicit Sizes(const LayerShape& s)
            : inputs(s.residual * s.width + s.conditioning),
              input_depth(ceil_div(inputs, kPack)),
              gate_blocks(ceil_div(s.gate, kGates)),
              outputs(s.residual + s.skip),
              output_depth(ceil_div(s.gate, kPack)),
              out_blocks(ceil_div(outputs, kRows)),
              gates(gate_blocks * kGates) {}
    };

    // Tiles start where a block of kLanes words may start.
    static constexpr int64_t kTileUnit = kPanel % (kLanes * kPack) == 0 ? kPanel : kPanel * kPack;

    static void choose_tile(LayerPlan* plan, const LayerShape& s, int64_t bytes_a_sample, int64_t budget) {
        int64_t tile = budget / bytes_a_sample / kTileUnit * kTileUnit;
        tile = most(kTileUnit, least(tile, 384 / kTileUnit * kTileUnit));
        plan->tiles = ceil_div(s.length, tile);
        plan->tile = round_up(ceil_div(s.length, plan->tiles), kTileUnit);
        plan->tiles = ceil_div(s.length, plan->tile);
    }

    // Hands out parts of the workspace, or counts their bytes where there is none.
    struct Cutter {
        uint8_t* base;
        int64_t used = 0;
        template <typename U>
        U* take(int64_t count) {
            U* part = base == nullptr ? nullptr : reinterpret_cast<U*>(base + used);
            used += round_up(count * int64_t(sizeof(U)), 64);
            return part;
        }
    };

    // ---- Weights.

    struct GateWeights {
        Word* weight;
        Real* bias;
        GateWeights(Cutter& cut, const Sizes& z)
            : weight(cut.template take<Word>(z.gate_blocks * z.input_depth * kRows)),
              bias(cut.template take<Real>(z.gate_blocks * kRows)) {}

        template <typename Call>
        void fill(const Call& call, const Sizes& z) {
            const LayerShape& s = call.shape;
            auto place = [&](int64_t block, int i) -> int64_t {
                int64_t gate = block * kGates + i % kGates;
                return gate >= s.gate ? -1 : i < kGates ? gate : s.gate + gate;
            };
            auto get = [&](int64_t m, int64_t k) -> Stored {
                if (m < 0 || k >= z.inputs) return Stored(0);
                int64_t tap = k / s.residual, channel = k % s.residual;
                if (tap < s.width) return call.dilated_weight[(m * s.residual + channel) * s.width + tap];
                return call.conditioning_weight[m * s.conditioning + k - s.width * s.residual];
            };
            pack_weights(weight, z.gate_blocks, z.input_depth, get, place);
            for (int64_t row = 0; row < z.gate_blocks * kRows; ++row) {
                int64_t m = place(row / kRows, int(row % kRows));
                bias[row] = m < 0 || call.dilated_bias == nullptr ? Real(0) : Real(F::to_real(call.dilated_bias[m]));
            }
        }
    };

    // ---- Forward.

    struct ForwardWeights {
        GateWeights gate;
        Word* out;
        Real* out_bias;
        ForwardWeights(Cutter& cut, const Sizes& z)
            : gate(cut, z),
              out(cut.template take<Word>(z.out_blocks * z.output_depth * kRows)),
              out_bias(cut.template take<Real>(z.out_blocks * kRows)) {}
    };

    struct ForwardScratch {
        Word *x, *z;
        Stored* spare;
        ForwardScratch(Cutter& cut, const Sizes& z, int64_t tile)
            : x(cut.template take<Word>(z.input_depth * tile)),
              z(cut.template take<Word>(z.gates / kPack * tile)),
              spare(cut.template take<Stored>(kPack * tile)) {}
    };

    static LayerPlan forward_plan(const LayerShape& s) {
        Sizes z(s);
        LayerPlan plan = {};
        choose_tile(&plan, s, int64_t(sizeof(Word)) * (z.input_depth + z.output_depth), 256 << 10);
        Cutter weights{nullptr}, scratch{nullptr};
        ForwardWeights(weights, z);
        ForwardScratch(scratch, z, plan.tile);
        plan.weight_bytes = weights.used;
        plan.worker_bytes = scratch.used;
        return plan;
    }

    static void forward_prepare(const LayerForward<Stored>& call) {
        const LayerShape& s = call.shape;
        Sizes z(s);
        Cutter cut{call.workspace};
        ForwardWeights weights(cut, z);
        weights.gate.fill(call, z);
        auto get = [&](int64_t m, int64_t k) -> Stored {
            return m < z.outputs && k < s.gate ? call.output_weight[m * s.gate + k] : Stored(0);
        };
        pack_weights(weights.out, z.out_blocks, z.output_depth, get, plain_place);
        for (int64_t m = 0; m < z.out_blocks * kRows; ++m)
            weights.out_bias[m] =
                call.output_bias == nullptr || m >= z.outputs ? Real(0) : Real(F::to_real(call.output_bias[m]));
    }

    // The inputs of the pre-activations of a tile: every tap of x, then the conditioning.
    template <typename Call>
    static void pack_inputs(const Call& call, const Sizes& z, int64_t sequence, int64_t start, int64_t panels,
                            Word* columns, int64_t column_rows, Word* rows, int64_t row_count, Stored* spare) {
        const LayerShape& s = call.shape;
        auto source = [&](int64_t k) -> Source {
            int64_t tap = k / s.residual, channel = k % s.residual;
            if (tap < s.width)
                return {call.x + (sequence * s.residual + channel) * s.length, start + tap_offset(s, tap), s.length};
            channel = k - s.width * s.residual;
            return {call.conditioning + (sequence * s.conditioning + channel) * s.length, start, s.length};
        };
        pack(source, z.inputs, panels, columns, column_rows, rows, row_count, spare, nullptr);
    }

    // to[0 .. count) = x + base[0 .. count) (null: 0), for count up to kLanes.
    static WAVEGEN_INLINE void store_sum(Stored* to, Vector x, const Stored* base, int64_t count) {
        if (count >= kLanes) {
            F::store_stored(to, base == nullptr ? x : F::add(x, F::load_stored(base)));
            return;
        }
        Stored part[kLanes] = {};
        if (base != nullptr) memcpy(part, base, size_t(count) * sizeof(Stored));
        F::store_stored(part, base == nullptr ? x : F::add(x, F::load_stored(part)));
        memcpy(to, part, size_t(count) * sizeof(Stored));
    }

    // A row of a block to to[0 .. count), likewise.
    static WAVEGEN_INLINE void store_row(Stored* to, const Vector (&row)[kVectors], const Stored* base, int64_t count) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j)
            if (count > j * kLanes)
                store_sum(to + j * kLanes, row[j], base == nullptr ? nullptr : base + j * kLanes, count - j * kLanes);
    }

    static void forward(const LayerForward<Stored>& call, int64_t worker, int64_t first, int64_t last) {
        const LayerShape& s = call.shape;
        const LayerPlan& plan = call.plan;
        Sizes sizes(s);
        Cutter cut{call.workspace}, own{call.workspace + plan.weight_bytes + worker * plan.worker_bytes};
        ForwardWeights weights(cut, sizes);
        ForwardScratch scratch(own, sizes, plan.tile);
        for (int64_t index = first; index < last; ++index) {
            int64_t sequence = index / plan.tiles, start = index % plan.tiles * plan.tile;
            int64_t count = least(plan.tile, s.length - start), panels = ceil_div(count, kPanel);
            pack_inputs(call, sizes, sequence, start, panels, scratch.x, sizes.input_depth, nullptr, 0, scratch.spare);
            int64_t z_step = sizes.gates / kPack * kPanel;
            over_channels(weights.gate.weight, weights.gate.bias, sizes.gate_blocks, sizes.input_depth, scratch.x,
                          sizes.input_depth * kPanel, panels,
                          [&](int64_t block, int64_t panel, Block& pre) __attribute__((always_inline)) {
                              store_gates(scratch.z + panel * z_step + block * kGates / kPack * kPanel, pre,
                                          s.gate - block * kGates);
                          });
            over_channels(weights.out, weights.out_bias, sizes.out_blocks, sizes.output_depth, scratch.z, z_step,
                          panels,
                          [&](int64_t block, int64_t panel, Block& out) __attribute__((always_inline)) {
                              int64_t at = start + panel * kPanel;
#pragma GCC unroll 16
                              for (int i = 0; i < kRows; ++i) {
                                  int64_t m = block * kRows + i, row = sequence * s.residual + m;
                                  if (m < s.residual) {
                                      store_row(call.residual + row * s.length + at, out[i],
                                                call.x + row * s.length + at, s.length - at);
                                  } else if (m < sizes.outputs) {
                                      row = sequence * s.skip + m - s.residual;
                                      store_row(call.skip + row * s.length + at, out[i], nullptr, s.length - at);
                                  }
                              }
                          });
        }
    }

    // z of a block, of which so many gates exist; a pair's other half is zero, whatever was multiplied by no weights.
    static WAVEGEN_INLINE void store_gates(Word* to, const Block& pre, int64_t exist) {
#pragma GCC unroll 8
        for (int i = 0; i < kGates; i += kPack)
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) {
                Vector z = F::gate(pre[i][j], pre[kGates + i][j]);
                if constexpr (kPack == 1) {
                    F::store(to + i * kPanel + j * kLanes, z);
                } else {
                    Vector odd = i + 1 < exist ? F::gate(pre[i + 1][j], pre[kGates + i + 1][j]) : F::fill(0);
                    store_pair(to + i / 2 * kPanel + j * kLanes, z, odd);
                }
            }
    }

    static WAVEGEN_INLINE void store_pair(Word* to, Vector even, Vector odd) {
#if defined(__AVX512BF16__)
        __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
        __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
        _mm512_storeu_si512(to, _mm512_or_si512(low, shift_left<16>(high)));
#endif
    }

    // ---- Backward.

    struct BackwardSizes : Sizes {
        int64_t input_rows, output_rows;                    // rounded up to whole blocks; inputs with a row of ones
        int64_t input_columns, output_columns, dz_step;     // words between panels, over kPanel
        int64_t gate_vectors, pre_vectors;                  // lanes of z and of d_pre, over kLanes
        int64_t dz_blocks, dx_blocks, dc_blocks, dx_depth, dc_depth;
        int64_t padded, stride;                             // a row of d_pre: what is written; to the next row
        BackwardSizes(const LayerShape& s, const LayerPlan& plan) : Sizes(s) {
            input_rows = round_up(this->inputs + 1, kRows);
            output_rows = round_up(this->outputs, kRows);
            input_columns = kPack == 1 ? input_rows : this->input_depth;
            output_columns = kPack == 1 ? output_rows : ceil_div(this->outputs, kPack);
            dz_blocks = ceil_div(s.gate, kRows);
            dz_step = most(dz_blocks * kRows, this->gates);
            gate_vectors = ceil_div(s.gate, kLanes);
            pre_vectors = ceil_div(2 * s.gate, kLanes);
            dx_blocks = ceil_div(s.residual, kRows);
            dc_blocks = ceil_div(s.conditioning, kRows);
            dc_depth = 2 * s.gate / kPack;
            dx_depth = dc_depth * s.width;
            padded = round_up(s.length, kPanel);
            // Room for a whole block of words at the end; an odd number of cache lines, as powers of two would collide.
            int64_t line = 64 / int64_t(sizeof(Stored));
            stride = (ceil_div(padded + kLanes * kPack, line) | 1) * line;
        }
    };

    struct BackwardWeights {
        GateWeights gate;
        Word *dz, *dx, *dc;
        BackwardWeights(Cutter& cut, const BackwardSizes& z)
            : gate(cut, z),
              dz(cut.template take<Word>(z.dz_blocks * z.output_columns * kRows)),
              dx(cut.template take<Word>(z.dx_blocks * z.dx_depth * kRows)),
              dc(cut.template take<Word>(z.dc_blocks * z.dc_depth * kRows)) {}
    };

    // Of a worker. The two passes do not run at the same time, but their buffers are few.
    struct BackwardScratch {
        Word *x, *x_rows, *d_out, *d_out_rows, *z_lanes, *pre_lanes, *d_pre;
        Real* dz;
        Stored *z, *spare;
        int64_t lane_steps, z_stride;
        BackwardScratch(Cutter& cut, const BackwardSizes& s, int64_t tile)
            : lane_steps(round_up(tile / kPack, kLanes)), z_stride(lane_steps * kPack) {
            spare = cut.template take<Stored>(kPack * tile);
            // The second pass has the first one's place.
            int64_t start = cut.used;
            d_pre = cut.template take<Word>(s.dx_depth * tile);
            int64_t other = cut.used;
            cut.used = start;
            x = cut.template take<Word>(s.input_columns * tile);
            x_rows = kPack == 1 ? x : cut.template take<Word>(s.input_rows * tile / kPack);
            d_out = cut.template take<Word>(s.output_columns * tile);
            d_out_rows = kPack == 1 ? d_out : cut.template take<Word>(s.output_rows * tile / kPack);
            dz = cut.template take<Real>(s.dz_step * tile);
            z = cut.template take<Stored>(s.gate_vectors * kLanes * z_stride);
            z_lanes = cut.template take<Word>(s.gate_vectors * kLanes * lane_steps);
            pre_lanes = cut.template take<Word>(s.pre_vectors * kLanes * lane_steps);
            cut.used = most(cut.used, other);
        }
    };

    // Sums of a range: inputs (and ones) by d_pre, outputs by z, outputs alone.
    struct Partial {
        Real *by_pre, *by_z, *ones;
        Partial(Cutter& cut, const BackwardSizes& z)
            : by_pre(cut.template take<Real>(z.input_rows * z.pre_vectors * kLanes)),
              by_z(cut.template take<Real>(z.output_rows * z.gate_vectors * kLanes)),
              ones(cut.template take<Real>(z.output_rows)) {}
    };

    static LayerPlan backward_plan(const LayerShape& s) {
        LayerPlan plan = {};
        BackwardSizes z(s, plan);
        int64_t word = sizeof(Word), sample = word * (z.input_columns + z.output_columns) +
                                              word * (z.gate_vectors * 2 + z.pre_vectors) * kLanes / kPack +
                                              int64_t(sizeof(Real)) * z.dz_step;
        choose_tile(&plan, s, sample, 640 << 10);
        Cutter weights{nullptr}, scratch{nullptr}, partial{nullptr};
        BackwardWeights(weights, z);
        BackwardScratch(scratch, z, plan.tile);
        Partial(partial, z);
        plan.weight_bytes = weights.used;
        plan.worker_bytes = scratch.used;
        plan.range_bytes = partial.used;
        // Neither depends on the number of threads, so that sums do not.
        int64_t sequence = round_up(2 * s.gate, kLanes) * z.stride * int64_t(sizeof(Stored));
        plan.chunk = most(1, least(s.batch, (16 << 20) / sequence));
        plan.chunk_bytes = plan.chunk * sequence;
        plan.ranges = most(16, least(64, (8 << 20) / plan.range_bytes));
        plan.ranges = least(plan.ranges, plan.chunk * plan.tiles);
        return plan;
    }

    static void backward_prepare(const LayerBackward<Stored>& call) {
        const LayerShape& s = call.shape;
        BackwardSizes z(s, call.plan);
        Cutter cut{call.workspace};
        BackwardWeights weights(cut, z);
        weights.gate.fill(call, z);
        pack_weights(weights.dz, z.dz_blocks, ceil_div(z.outputs, kPack),
                     [&](int64_t m, int64_t k) -> Stored {
                         return m < s.gate && k < z.outputs ? call.output_weight[k * s.gate + m] : Stored(0);
                     },
                     plain_place);
        pack_weights(weights.dx, z.dx_blocks, z.dx_depth,
                     [&](int64_t m, int64_t k) -> Stored {
                         int64_t tap = k / (2 * s.gate), row = k % (2 * s.gate);
                         if (m >= s.residual) return Stored(0);
                         return call.dilated_weight[(row * s.residual + m) * s.width + tap];
                     },
                     plain_place);
        pack_weights(weights.dc, z.dc_blocks, z.dc_depth,
                     [&](int64_t m, int64_t k) -> Stored {
                         return m < s.conditioning ? call.conditioning_weight[k * s.conditioning + m] : Stored(0);
                     },
                     plain_place);
    }

    static Stored* d_pre_rows(const LayerBackward<Stored>& call, const BackwardSizes& z, int64_t sequence_in_chunk) {
        const LayerPlan& plan = call.plan;
        uint8_t* start = call.workspace + plan.weight_bytes + call.workers * plan.worker_bytes +
                         plan.ranges * plan.range_bytes;
        return reinterpret_cast<Stored*>(start) + sequence_in_chunk * round_up(2 * call.shape.gate, kLanes) * z.stride;
    }

    static Partial partial(const LayerBackward<Stored>& call, const BackwardSizes& z, int64_t range) {
        const LayerPlan& plan = call.plan;
        Cutter cut{call.workspace + plan.weight_bytes + call.workers * plan.worker_bytes + range * plan.range_bytes};
        return Partial(cut, z);
    }

    // Rows beyond the inputs: one of ones, whose products sum d_pre, and zeros to a whole block.
    static void fill_spare_rows(const BackwardScratch& scratch, const BackwardSizes& z, int64_t panels) {
        Stored one[2] = {F::from_real(1), F::from_real(1)}, none[2] = {0, 0};
        for (int64_t panel = 0; panel < panels; ++panel) {
            for (int64_t row = z.inputs; row < z.input_rows; ++row)
                for (int i = 0; i < kSteps; ++i)
                    scratch.x_rows[(panel * z.input_rows + row) * kSteps + i] = F::word(row == z.inputs ? one : none);
            for (int64_t row = z.outputs; row < z.output_rows; ++row)
                for (int i = 0; i < kSteps; ++i)
                    scratch.d_out_rows[(panel * z.output_rows + row) * kSteps + i] = F::word(none);
        }
    }

    static void backward_gates(const LayerBackward<Stored>& call, int64_t worker, int64_t first_sequence,
                               int64_t first_range, int64_t last_range) {
        const LayerPlan& plan = call.plan;
        BackwardSizes z(call.shape, plan);
        Cutter cut{call.workspace}, own{call.workspace + plan.weight_bytes + worker * plan.worker_bytes};
        BackwardWeights weights(cut, z);
        BackwardScratch scratch(own, z, plan.tile);
        fill_spare_rows(scratch, z, plan.tile / kPanel);
        int64_t tiles = least(plan.chunk, call.shape.batch - first_sequence) * plan.tiles;
        for (int64_t range = first_range; range < last_range; ++range) {
            Partial sums = partial(call, z, range);
            if (first_sequence == 0) memset(static_cast<void*>(sums.by_pre), 0, size_t(plan.range_bytes));
            for (int64_t i = range * tiles / plan.ranges; i < (range + 1) * tiles / plan.ranges; ++i)
                backward_tile(call, z, weights, scratch, sums, first_sequence, i / plan.tiles,
                              i % plan.tiles * plan.tile);
        }
    }

    static void backward_tile(const LayerBackward<Stored>& call, const BackwardSizes& z, const BackwardWeights& weights,
                              const BackwardScratch& scratch, const Partial& sums, int64_t first_sequence, int64_t nth,
                              int64_t start) {
        const LayerShape& s = call.shape;
        int64_t sequence = first_sequence + nth;
        int64_t panels = ceil_div(least(call.plan.tile, s.length - start), kPanel);
        pack_inputs(call, z, sequence, start, panels, scratch.x, z.input_columns, scratch.x_rows, z.input_rows,
                    scratch.spare);
        auto d_out = [&](int64_t k) -> Source {
            if (k < s.residual) return {call.d_residual + (sequence * s.residual + k) * s.length, start, s.length};
            return {call.d_skip + (sequence * s.skip + k - s.residual) * s.length, start, s.length};
        };
        pack(d_out, z.outputs, panels, scratch.d_out, z.output_columns, scratch.d_out_rows, z.output_rows,
             scratch.spare, sums.ones);
        over_channels(weights.dz, static_cast<const Real*>(nullptr), z.dz_blocks, ceil_div(z.outputs, kPack),
                      scratch.d_out, z.output_columns * kPanel, panels,
                      [&](int64_t block, int64_t panel, Block& dz) __attribute__((always_inline)) {
                          Real* to = scratch.dz + (panel * z.dz_step + block * kRows) * kPanel;
#pragma GCC unroll 16
                          for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
                              for (int j = 0; j < kVectors; ++j) F::store(to + i * kPanel + j * kLanes, dz[i][j]);
                      });
        Stored* d_pre = d_pre_rows(call, z, nth) + start;
        over_channels(weights.gate.weight, weights.gate.bias, z.gate_blocks, z.input_depth, scratch.x,
                      z.input_columns * kPanel, panels,
                      [&](int64_t block, int64_t panel, Block& pre) __attribute__((always_inline)) {
                          const Real* dz = scratch.dz + (panel * z.dz_step + block * kGates) * kPanel;
#pragma GCC unroll 8
                          for (int i = 0; i < kGates; ++i) {
                              int64_t gate = block * kGates + i;
                              if (gate >= s.gate) break;
#pragma GCC unroll 4
                              for (int j = 0; j < kVectors; ++j) {
                                  int64_t at = panel * kPanel + j * kLanes;
                                  Vector a = pre[i][j], b = pre[kGates + i][j];
                                  Vector out = F::gate_backward(F::load(dz + i * kPanel + j * kLanes), &a, &b);
                                  F::store_stored(scratch.z + gate * scratch.z_stride + at, out);
                                  F::store_stored(d_pre + gate * z.stride + at, a);
                                  F::store_stored(d_pre + (s.gate + gate) * z.stride + at, b);
                              }
                          }
                      });
        int64_t steps = panels * kSteps;
        transpose(scratch.z, scratch.z_stride, z.gate_vectors, steps, scratch.z_lanes, scratch.lane_steps);
        over_time(sums.by_z, z.gate_vectors, scratch.d_out_rows, z.output_rows, scratch.z_lanes, scratch.lane_steps,
                  panels);
        transpose(d_pre, z.stride, z.pre_vectors, steps, scratch.pre_lanes, scratch.lane_steps);
        over_time(sums.by_pre, z.pre_vectors, scratch.x_rows, z.input_rows, scratch.pre_lanes, scratch.lane_steps,
                  panels);
    }

    // d_x and d_conditioning, once all of the chunk's d_pre is there: a tile needs that of others, by dilation.
    static void backward_inputs(const LayerBackward<Stored>& call, int64_t worker, int64_t first_sequence,
                                int64_t first_tile, int64_t last_tile) {
        const LayerShape& s = call.shape;
        const LayerPlan& plan = call.plan;
        BackwardSizes z(s, plan);
        Cutter cut{call.workspace}, own{call.workspace + plan.weight_bytes + worker * plan.worker_bytes};
        BackwardWeights weights(cut, z);
        BackwardScratch scratch(own, z, plan.tile);
        int64_t centre = s.causal ? s.width - 1 : s.width / 2;
        for (int64_t index = first_tile; index < last_tile; ++index) {
            int64_t nth = index / plan.tiles, sequence = first_sequence + nth, start = index % plan.tiles * plan.tile;
            int64_t panels = ceil_div(least(plan.tile, s.length - start), kPanel);
            const Stored* rows = d_pre_rows(call, z, nth);
            auto source = [&](int64_t k) -> Source {
                int64_t tap = k / (2 * s.gate), row = k % (2 * s.gate);
                return {rows + row * z.stride, start - tap_offset(s, tap), z.padded};
            };
            pack(source, 2 * s.gate * s.width, panels, scratch.d_pre, z.dx_depth, static_cast<Word*>(nullptr), 0,
                 scratch.spare, static_cast<Real*>(nullptr));
            over_channels(weights.dx, static_cast<const Real*>(nullptr), z.dx_blocks, z.dx_depth, scratch.d_pre,
                          z.dx_depth * kPanel, panels,
                          [&](int64_t block, int64_t panel, Block& dx) __attribute__((always_inline)) {
                              store_rows(call.d_x, call.d_residual, s.residual, sequence, s.length, block,
                                         start + panel * kPanel, dx);
                          });
            if (call.d_conditioning == nullptr) continue;
            over_channels(weights.dc, static_cast<const Real*>(nullptr), z.dc_blocks, z.dc_depth,
                          scratch.d_pre + centre * z.dc_depth * kPanel, z.dx_depth * kPanel, panels,
                          [&](int64_t block, int64_t panel, Block& dc) __attribute__((always_inline)) {
                              store_rows(call.d_conditioning, nullptr, s.conditioning, sequence, s.length, block,
                                         start + panel * kPanel, dc);
                          });
        }
    }

    static WAVEGEN_INLINE void store_rows(Stored* to, const Stored* base, int64_t channels, int64_t sequence,
                                          int64_t length, int64_t block, int64_t at, const Block& values) {
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
            int64_t channel = block * kRows + i, place = (sequence * channels + channel) * length + at;
            if (channel < channels)
                store_row(to + place, values[i], base == nullptr ? nullptr : base + place, length - at);
        }
    }

    static void backward_weights(const LayerBackward<Stored>& call, int64_t first_row, int64_t last_row) {
        const LayerShape& s = call.shape;
        BackwardSizes z(s, call.plan);
        for (int64_t row = first_row; row < last_row; ++row) {
            bool input = row <= z.inputs;
            int64_t own = input ? row : row - z.inputs - 1, vectors = input ? z.pre_vectors : z.gate_vectors;
            int64_t lanes = input ? 2 * s.gate : s.gate;
            if (row == z.inputs && call.d_dilated_bias == nullptr) continue;
            for (int64_t v = 0; v < vectors; ++v) {
                Vector total = F::fill(0);
                for (int64_t range = 0; range < call.plan.ranges; ++range) {
                    Partial sums = partial(call, z, range);
                    total = F::add(total, F::load((input ? sums.by_pre : sums.by_z) + (own * vectors + v) * kLanes));
                }
                Real values[kLanes];
                F::store(values, total);
                for (int i = 0; i < kLanes && v * kLanes + i < lanes; ++i)
                    *(input ? input_weight(call, z, own, v * kLanes + i)
                            : call.d_output_weight + own * s.gate + v * kLanes + i) = F::from_real(values[i]);
            }
            if (input || call.d_output_bias == nullptr) continue;
            Real total = 0;
            for (int64_t range = 0; range < call.plan.ranges; ++range) total += partial(call, z, range).ones[own];
            call.d_output_bias[own] = F::from_real(total);
        }
    }

    // Where the gradient of input k by pre-activation m belongs.
    static Stored* input_weight(const LayerBackward<Stored>& call, const Sizes& z, int64_t k, int64_t m) {
        const LayerShape& s = call.shape;
        if (k == z.inputs) return call.d_dilated_bias + m;
        int64_t tap = k / s.residual, channel = k % s.residual;
        if (tap < s.width) return call.d_dilated_weight + (m * s.residual + channel) * s.width + tap;
        return call.d_conditioning_weight + m * s.conditioning + k - s.width * s.residual;
    }

    static constexpr LayerKernels<Stored> kernels() {
        return {forward_plan,     forward_prepare, forward,         backward_plan,
                backward_prepare, backward_gates,  backward_inputs, backward_weights};
    }
};

constexpr LayerKernels<float> layer_fp32 = Layer<Fp32Format>::kernels();
constexpr LayerKernels<uint16_t> layer_bf16 = Layer<Bf16Format>::kernels();
constexpr LayerKernels<double> layer_fp64 = Layer<Fp64Format>::kernels();

}  // namespace wavegen::WAVEGEN_ISA
