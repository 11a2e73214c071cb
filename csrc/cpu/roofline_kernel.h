// The two sides of the roofline that benchmarks hold the kernels against: reading weights, and multiply-adds.
#pragma once

#include "vec.h"

namespace wavegen::WAVEGEN_ISA {

// Reads count bytes (a multiple of 512) as the generate kernel reads weights, and does nothing else.
inline double stream_bytes(const uint8_t* bytes, int64_t count) {
    I16 seen[8];
    for (int i = 0; i < 8; ++i) seen[i] = izero();
    for (int64_t at = 0; at + 512 <= count; at += 512) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) seen[i] = iadd(seen[i], iload(bytes + at + 64 * i));
    }
    F16 total = zero();
    for (int i = 0; i < 8; ++i) total = add(total, to_float(seen[i]));
    return sum(total);
}

// 14 independent chains of the product of a format (0 fp32, 1 bf16, 2 int8), in registers. Returns the MACs done.
inline double multiply_add(int format, int64_t rounds) {
    constexpr int kChains = 14;
    alignas(64) static const uint16_t zeros[32] = {};
    static const uint8_t bytes[20] = {};
    volatile float sink;
    if (format == 2) {
        // Of int16 inputs, as the kernel multiplies them: two byte products each where the instructions take bytes.
        Int8Sum acc[kChains / 2];
        for (int i = 0; i < kChains / 2; ++i) acc[i] = int8_zero();
        const auto* w = reinterpret_cast<const int8_t*>(zeros);
        for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 7
            for (int i = 0; i < kChains / 2; ++i) acc[i] = dot_int8(acc[i], w, bytes + (r & 15), bytes + (r & 7));
        }
        I16 all = izero();
        for (int i = 0; i < kChains / 2; ++i) all = iadd(all, total(acc[i], izero()));
        sink = sum(to_float(all));
        (void)sink;
        return double(rounds) * (kChains / 2) * 64;
    }
    F16 acc[kChains];
    for (int i = 0; i < kChains; ++i) acc[i] = zero();
    if (format == 1) {
        for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 14
            for (int i = 0; i < kChains; ++i) acc[i] = dot_bf16(acc[i], zeros, uint32_t(r & 0x3f803f80));
        }
    } else {
        F16 a = set1(0.5f), b = set1(0.25f);
        for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 14
            for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
        }
    }
    for (int i = 1; i < kChains; ++i) acc[0] = add(acc[0], acc[i]);
    sink = sum(acc[0]);
    (void)sink;
    return double(rounds) * kChains * (format == 1 ? 32 : 16);
}

}  // namespace wavegen::WAVEGEN_ISA
