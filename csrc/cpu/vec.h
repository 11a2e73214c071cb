// Vectors of 16 lanes, whatever the machine's registers are: one zmm, two ymm, or four 16-byte vectors (SSE2, NEON).
//
// Included by the kernel sources, which are compiled once per instruction set in a namespace of their own; see
// dispatch.h. Everything here is inline, in that namespace, and free of the standard library's templates, whose
// instantiations the linker would share between instruction sets.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define WAVEGEN_INLINE inline __attribute__((always_inline))

namespace wavegen::WAVEGEN_ISA {

#if defined(__AVX512F__)

using F16 = __m512;
using I16 = __m512i;

WAVEGEN_INLINE F16 zero() { return _mm512_setzero_ps(); }
WAVEGEN_INLINE F16 set1(float x) { return _mm512_set1_ps(x); }
WAVEGEN_INLINE F16 load(const float* p) { return _mm512_loadu_ps(p); }
WAVEGEN_INLINE void store(float* p, F16 x) { _mm512_storeu_ps(p, x); }
WAVEGEN_INLINE F16 add(F16 a, F16 b) { return _mm512_add_ps(a, b); }
WAVEGEN_INLINE F16 sub(F16 a, F16 b) { return _mm512_sub_ps(a, b); }
WAVEGEN_INLINE F16 mul(F16 a, F16 b) { return _mm512_mul_ps(a, b); }
WAVEGEN_INLINE F16 div(F16 a, F16 b) { return _mm512_div_ps(a, b); }
WAVEGEN_INLINE F16 fma(F16 a, F16 b, F16 c) { return _mm512_fmadd_ps(a, b, c); }
WAVEGEN_INLINE F16 max(F16 a, F16 b) { return _mm512_max_ps(a, b); }
WAVEGEN_INLINE F16 min(F16 a, F16 b) { return _mm512_min_ps(a, b); }
WAVEGEN_INLINE I16 izero() { return _mm512_setzero_si512(); }
WAVEGEN_INLINE I16 iset1(int32_t x) { return _mm512_set1_epi32(x); }
WAVEGEN_INLINE I16 iload(const void* p) { return _mm512_loadu_si512(p); }
WAVEGEN_INLINE I16 iadd(I16 a, I16 b) { return _mm512_add_epi32(a, b); }
WAVEGEN_INLINE I16 iand(I16 a, I16 b) { return _mm512_and_si512(a, b); }
template <int bits>
WAVEGEN_INLINE I16 shift_left(I16 a) { return _mm512_slli_epi32(a, bits); }
template <int bits>
WAVEGEN_INLINE I16 shift_right(I16 a) { return _mm512_srli_epi32(a, bits); }
WAVEGEN_INLINE F16 as_float(I16 a) { return _mm512_castsi512_ps(a); }
WAVEGEN_INLINE I16 as_int(F16 a) { return _mm512_castps_si512(a); }
WAVEGEN_INLINE F16 to_float(I16 a) { return _mm512_cvtepi32_ps(a); }
WAVEGEN_INLINE F16 load_bf16(const uint16_t* p) {
    return as_float(shift_left<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))));
}
// The lower half of every lane, in order.
WAVEGEN_INLINE void store_low16(uint16_t* p, I16 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
}
WAVEGEN_INLINE float sum(F16 x) { return _mm512_reduce_add_ps(x); }
WAVEGEN_INLINE float largest(F16 x) { return _mm512_reduce_max_ps(x); }

#else

#if defined(__AVX2__)
using Part = __m256;
using IPart = __m256i;
WAVEGEN_INLINE Part part_fma(Part a, Part b, Part c) { return _mm256_fmadd_ps(a, b, c); }
WAVEGEN_INLINE Part part_max(Part a, Part b) { return _mm256_max_ps(a, b); }
WAVEGEN_INLINE Part part_min(Part a, Part b) { return _mm256_min_ps(a, b); }
WAVEGEN_INLINE IPart part_iadd(IPart a, IPart b) { return _mm256_add_epi32(a, b); }
WAVEGEN_INLINE IPart part_iand(IPart a, IPart b) { return _mm256_and_si256(a, b); }
template <int bits>
WAVEGEN_INLINE IPart part_left(IPart a) { return _mm256_slli_epi32(a, bits); }
template <int bits>
WAVEGEN_INLINE IPart part_right(IPart a) { return _mm256_srli_epi32(a, bits); }
WAVEGEN_INLINE Part part_to_float(IPart a) { return _mm256_cvtepi32_ps(a); }
WAVEGEN_INLINE Part part_set1(float x) { return _mm256_set1_ps(x); }
WAVEGEN_INLINE IPart part_iset1(int32_t x) { return _mm256_set1_epi32(x); }
#else
typedef float Part __attribute__((vector_size(16)));
typedef int32_t IPart __attribute__((vector_size(16)));
typedef uint32_t UPart __attribute__((vector_size(16)));
#if defined(__aarch64__)
WAVEGEN_INLINE Part part_fma(Part a, Part b, Part c) {
    return (Part)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
WAVEGEN_INLINE Part part_fma(Part a, Part b, Part c) { return a * b + c; }
#endif
WAVEGEN_INLINE Part part_max(Part a, Part b) { return a > b ? a : b; }
WAVEGEN_INLINE Part part_min(Part a, Part b) { return a < b ? a : b; }
WAVEGEN_INLINE IPart part_iadd(IPart a, IPart b) { return a + b; }
WAVEGEN_INLINE IPart part_iand(IPart a, IPart b) { return a & b; }
template <int bits>
WAVEGEN_INLINE IPart part_left(IPart a) { return (IPart)((UPart)a << bits); }
template <int bits>
WAVEGEN_INLINE IPart part_right(IPart a) { return (IPart)((UPart)a >> bits); }
WAVEGEN_INLINE Part part_to_float(IPart a) { return __builtin_convertvector(a, Part); }
WAVEGEN_INLINE Part part_set1(float x) { return Part{x, x, x, x}; }
WAVEGEN_INLINE IPart part_iset1(int32_t x) { return IPart{x, x, x, x}; }
#endif

// Two vectors side by side; an operation is that of each. (Members rather than an array: compilers keep these in
// registers.)
template <typename T>
struct Two {
    T low, high;
};
#if defined(__AVX2__)
using F16 = Two<Part>;
using I16 = Two<IPart>;
#else
using F16 = Two<Two<Part>>;
using I16 = Two<Two<IPart>>;
#endif

WAVEGEN_INLINE void set_all(Part* to, float x) { *to = part_set1(x); }
WAVEGEN_INLINE void set_all(IPart* to, int32_t x) { *to = part_iset1(x); }
template <typename T, typename Value>
WAVEGEN_INLINE void set_all(Two<T>* to, Value x) {
    set_all(&to->low, x);
    set_all(&to->high, x);
}
WAVEGEN_INLINE F16 set1(float x) {
    F16 out;
    set_all(&out, x);
    return out;
}
WAVEGEN_INLINE I16 iset1(int32_t x) {
    I16 out;
    set_all(&out, x);
    return out;
}
WAVEGEN_INLINE F16 zero() { return set1(0.0f); }
WAVEGEN_INLINE I16 izero() { return iset1(0); }

WAVEGEN_INLINE void copy_in(const char* p, Part* to) { memcpy(to, p, sizeof *to); }
WAVEGEN_INLINE void copy_in(const char* p, IPart* to) { memcpy(to, p, sizeof *to); }
WAVEGEN_INLINE void copy_out(char* p, Part x) { memcpy(p, &x, sizeof x); }
template <typename T>
WAVEGEN_INLINE void copy_in(const char* p, Two<T>* to) {
    copy_in(p, &to->low);
    copy_in(p + sizeof(T), &to->high);
}
template <typename T>
WAVEGEN_INLINE void copy_out(char* p, Two<T> x) {
    copy_out(p, x.low);
    copy_out(p + sizeof(T), x.high);
}
WAVEGEN_INLINE F16 load(const float* p) {
    F16 out;
    copy_in(reinterpret_cast<const char*>(p), &out);
    return out;
}
WAVEGEN_INLINE I16 iload(const void* p) {
    I16 out;
    copy_in(static_cast<const char*>(p), &out);
    return out;
}
WAVEGEN_INLINE void store(float* p, F16 x) { copy_out(reinterpret_cast<char*>(p), x); }

WAVEGEN_INLINE Part add(Part a, Part b) { return a + b; }
template <typename T>
WAVEGEN_INLINE Two<T> add(Two<T> a, Two<T> b) { return {add(a.low, b.low), add(a.high, b.high)}; }
WAVEGEN_INLINE Part sub(Part a, Part b) { return a - b; }
template <typename T>
WAVEGEN_INLINE Two<T> sub(Two<T> a, Two<T> b) { return {sub(a.low, b.low), sub(a.high, b.high)}; }
WAVEGEN_INLINE Part mul(Part a, Part b) { return a * b; }
template <typename T>
WAVEGEN_INLINE Two<T> mul(Two<T> a, Two<T> b) { return {mul(a.low, b.low), mul(a.high, b.high)}; }
WAVEGEN_INLINE Part div(Part a, Part b) { return a / b; }
template <typename T>
WAVEGEN_INLINE Two<T> div(Two<T> a, Two<T> b) { return {div(a.low, b.low), div(a.high, b.high)}; }
WAVEGEN_INLINE Part max(Part a, Part b) { return part_max(a, b); }
template <typename T>
WAVEGEN_INLINE Two<T> max(Two<T> a, Two<T> b) { return {max(a.low, b.low), max(a.high, b.high)}; }
WAVEGEN_INLINE Part min(Part a, Part b) { return part_min(a, b); }
template <typename T>
WAVEGEN_INLINE Two<T> min(Two<T> a, Two<T> b) { return {min(a.low, b.low), min(a.high, b.high)}; }
WAVEGEN_INLINE IPart iadd(IPart a, IPart b) { return part_iadd(a, b); }
template <typename T>
WAVEGEN_INLINE Two<T> iadd(Two<T> a, Two<T> b) { return {iadd(a.low, b.low), iadd(a.high, b.high)}; }
WAVEGEN_INLINE IPart iand(IPart a, IPart b) { return part_iand(a, b); }
template <typename T>
WAVEGEN_INLINE Two<T> iand(Two<T> a, Two<T> b) { return {iand(a.low, b.low), iand(a.high, b.high)}; }
WAVEGEN_INLINE Part fma(Part a, Part b, Part c) { return part_fma(a, b, c); }
template <typename T>
WAVEGEN_INLINE Two<T> fma(Two<T> a, Two<T> b, Two<T> c) {
    return {fma(a.low, b.low, c.low), fma(a.high, b.high, c.high)};
}
template <int bits>
WAVEGEN_INLINE IPart shift_left(IPart a) { return part_left<bits>(a); }
template <int bits, typename T>
WAVEGEN_INLINE Two<T> shift_left(Two<T> a) { return {shift_left<bits>(a.low), shift_left<bits>(a.high)}; }
template <int bits>
WAVEGEN_INLINE IPart shift_right(IPart a) { return part_right<bits>(a); }
template <int bits, typename T>
WAVEGEN_INLINE Two<T> shift_right(Two<T> a) { return {shift_right<bits>(a.low), shift_right<bits>(a.high)}; }
WAVEGEN_INLINE Part as_float(IPart a) { return (Part)a; }
WAVEGEN_INLINE IPart as_int(Part a) { return (IPart)a; }
WAVEGEN_INLINE Part to_float(IPart a) { return part_to_float(a); }
template <typename T>
WAVEGEN_INLINE auto as_float(Two<T> a) { return Two<decltype(as_float(a.low))>{as_float(a.low), as_float(a.high)}; }
template <typename T>
WAVEGEN_INLINE auto as_int(Two<T> a) { return Two<decltype(as_int(a.low))>{as_int(a.low), as_int(a.high)}; }
template <typename T>
WAVEGEN_INLINE auto to_float(Two<T> a) { return Two<decltype(to_float(a.low))>{to_float(a.low), to_float(a.high)}; }
WAVEGEN_INLINE F16 load_bf16(const uint16_t* p) {
    uint32_t wide[16];
    for (int i = 0; i < 16; ++i) wide[i] = uint32_t(p[i]) << 16;
    return as_float(iload(wide));
}
WAVEGEN_INLINE void store_low16(uint16_t* p, I16 x) {
    uint32_t wide[16];
    memcpy(wide, &x, sizeof wide);
    for (int i = 0; i < 16; ++i) p[i] = uint16_t(wide[i]);
}
WAVEGEN_INLINE float sum(F16 x) {
    // In the order of _mm512_reduce_add_ps.
    float v[16];
    store(v, x);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) v[i] += v[i + half];
    return v[0];
}
WAVEGEN_INLINE float largest(F16 x) {
    float v[16];
    store(v, x);
    float most = v[0];
    for (int i = 1; i < 16; ++i) most = v[i] > most ? v[i] : most;
    return most;
}

#endif

// The float whose lower 23 bits, once added, hold x rounded to an integer (ties to even), for |x| < 2^22.
constexpr float kRounder = 12582912.0f;

// x, of at most 32767 in magnitude, rounded to int16, as the bytes of x + 32768 in two planes.
WAVEGEN_INLINE void store_planes(uint8_t* high, uint8_t* low, F16 x) {
    I16 bits = as_int(add(x, set1(kRounder + 32768.0f)));
#if defined(__AVX512F__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low), _mm512_cvtepi32_epi8(bits));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtepi32_epi8(shift_right<8>(bits)));
#else
    uint32_t wide[16];
    memcpy(wide, &bits, sizeof wide);
    for (int i = 0; i < 16; ++i) {
        low[i] = uint8_t(wide[i]);
        high[i] = uint8_t(wide[i] >> 8);
    }
#endif
}

WAVEGEN_INLINE F16 absolute(F16 x) { return as_float(iand(as_int(x), iset1(0x7fffffff))); }

// Rounded to the nearest bf16, ties to even. For numbers: a NaN may come out as infinity.
WAVEGEN_INLINE I16 bf16_bits(F16 x) {
    I16 bits = as_int(x);
    I16 odd = iand(shift_right<16>(bits), iset1(1));
    return shift_right<16>(iadd(iadd(bits, iset1(0x7fff)), odd));
}
WAVEGEN_INLINE void store_bf16(uint16_t* p, F16 x) { store_low16(p, bf16_bits(x)); }

// acc + w[2i] x0 + w[2i+1] x1 for the 16 rows i, of bf16 pairs; x is the pair (x0 in the lower half).
WAVEGEN_INLINE F16 dot_bf16(F16 acc, const uint16_t* w, uint32_t x) {
#if defined(__AVX512BF16__)
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(iset1(int32_t(x))), "v"(iload(w)));
    return acc;
#else
    float even, odd;
    uint32_t low = x << 16, high = x & 0xffff0000u;
    memcpy(&even, &low, 4);
    memcpy(&odd, &high, 4);
    I16 pair = iload(w);
    acc = fma(as_float(shift_left<16>(pair)), set1(even), acc);
    return fma(as_float(iand(pair, iset1(int32_t(0xffff0000)))), set1(odd), acc);
#endif
}

// Sums of products of int8 weights, four columns at a time, with int16 inputs x that are kept as the bytes of x + 32768
// in two planes, high and low. Exact: the sum fits into int32, and what wraps on the way to it wraps back.
#if defined(__AVX512VNNI__)

struct Int8Sum {
    I16 high, low;
};
WAVEGEN_INLINE Int8Sum int8_zero() { return {izero(), izero()}; }
// w: 16 rows of 4 columns.
WAVEGEN_INLINE Int8Sum dot_int8(Int8Sum acc, const int8_t* w, const uint8_t* high, const uint8_t* low) {
    int32_t h, l;
    memcpy(&h, high, 4);
    memcpy(&l, low, 4);
    I16 weights = iload(w);
    // In assembly, because compilers make a copy of every sum that the intrinsic adds to.
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.high) : "v"(iset1(h)), "v"(weights));
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.low) : "v"(iset1(l)), "v"(weights));
    return acc;
}
// offset: 32768 times the sum of each row's weights, modulo 2^32.
WAVEGEN_INLINE I16 total(Int8Sum acc, I16 offset) {
    return _mm512_sub_epi32(iadd(shift_left<8>(acc.high), acc.low), offset);
}

#elif defined(__AVX2__)

struct Int8Sum {
    __m256i a, b, c, d;  // each 4 rows × 2 pairs of columns
};
WAVEGEN_INLINE Int8Sum int8_zero() {
    __m256i none = _mm256_setzero_si256();
    return {none, none, none, none};
}
WAVEGEN_INLINE __m256i dot_four_rows(__m256i acc, const int8_t* w, __m256i x) {
    __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(weights, x));
}
WAVEGEN_INLINE Int8Sum dot_int8(Int8Sum acc, const int8_t* w, const uint8_t* high, const uint8_t* low) {
    int32_t h, l;
    memcpy(&h, high, 4);
    memcpy(&l, low, 4);
    __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi32_si128(l), _mm_cvtsi32_si128(h));
    __m256i x = _mm256_broadcastq_epi64(_mm_xor_si128(bytes, _mm_set1_epi16(int16_t(0x8000))));
    acc.a = dot_four_rows(acc.a, w, x);
    acc.b = dot_four_rows(acc.b, w + 16, x);
    acc.c = dot_four_rows(acc.c, w + 32, x);
    acc.d = dot_four_rows(acc.d, w + 48, x);
    return acc;
}
WAVEGEN_INLINE I16 total(Int8Sum acc, I16) {
    const __m256i parts[4] = {acc.a, acc.b, acc.c, acc.d};
    int32_t pairs[32], sums[16];
    memcpy(pairs, parts, sizeof pairs);
    for (int r = 0; r < 16; ++r) sums[r] = pairs[2 * r] + pairs[2 * r + 1];
    return iload(sums);
}

#else

struct Int8Sum {
    int32_t row[16];
};
WAVEGEN_INLINE Int8Sum int8_zero() { return {}; }
WAVEGEN_INLINE Int8Sum dot_int8(Int8Sum acc, const int8_t* w, const uint8_t* high, const uint8_t* low) {
    int32_t x[4];
    for (int i = 0; i < 4; ++i) x[i] = 256 * high[i] + low[i] - 32768;
    for (int r = 0; r < 16; ++r)
        acc.row[r] += w[4 * r] * x[0] + w[4 * r + 1] * x[1] + w[4 * r + 2] * x[2] + w[4 * r + 3] * x[3];
    return acc;
}
WAVEGEN_INLINE I16 total(Int8Sum acc, I16) { return iload(acc.row); }

#endif

// 2^n, and p with e^x = 2^n (1 + p), for x in [-87, 88]. Relative error of p about 1e-7 however small x is.
WAVEGEN_INLINE F16 exp_parts(F16 x, F16* p) {
    F16 shifted = fma(x, set1(1.44269504f), set1(kRounder));
    F16 n = sub(shifted, set1(kRounder));
    F16 r = fma(n, set1(-0.693359375f), x);
    r = fma(n, set1(2.12194440e-4f), r);
    F16 q = set1(1.9875691500e-4f);
    q = fma(q, r, set1(1.3981999507e-3f));
    q = fma(q, r, set1(8.3334519073e-3f));
    q = fma(q, r, set1(4.1665795894e-2f));
    q = fma(q, r, set1(1.6666665459e-1f));
    q = fma(q, r, set1(5.0000001201e-1f));
    *p = fma(mul(r, r), q, r);
    return as_float(iadd(shift_left<23>(as_int(shifted)), iset1(0x3f800000)));
}

WAVEGEN_INLINE F16 clamp(F16 x, float low, float high) { return min(max(x, set1(low)), set1(high)); }

WAVEGEN_INLINE F16 exp(F16 x) {
    F16 p;
    F16 scale = exp_parts(clamp(x, -87.0f, 88.0f), &p);
    return fma(scale, p, scale);
}

// tanh(a) sigmoid(b) with one division; tanh from e^-2a - 1, which keeps its relative precision near zero.
WAVEGEN_INLINE F16 gate(F16 a, F16 b) {
    F16 p;
    F16 scale = exp_parts(mul(clamp(a, -10.0f, 10.0f), set1(-2.0f)), &p);
    F16 d = fma(scale, p, sub(scale, set1(1.0f)));
    F16 f = exp(sub(zero(), clamp(b, -60.0f, 60.0f)));
    return div(sub(zero(), d), mul(add(d, set1(2.0f)), add(f, set1(1.0f))));
}

}  // namespace wavegen::WAVEGEN_ISA
