// Scalar functions that kernels and tests share.
#pragma once

#include <cmath>
#include <cstdint>

#include "simt.h"

namespace wavegen::cuda {

constexpr float kLogScaleFloor = -9.0f;

// tanh(a) * sigmoid(b) from two exponentials; absolute error below 3e-7. `Exact` takes the library's exponential.
template <bool Exact>
WAVEGEN_DEVICE float gated(float a, float b) {
    float ea = Exact ? expf(-2.0f * fabsf(a)) : simt::fast_exp(-2.0f * fabsf(a));
    float eb = Exact ? expf(-fabsf(b)) : simt::fast_exp(-fabsf(b));
    float tanh_a = copysignf((1.0f - ea) / (1.0f + ea), a);
    float sigmoid_b = (b < 0.0f ? eb : 1.0f) / (1.0f + eb);
    return tanh_a * sigmoid_b;
}

// The inverse of the normal distribution function; Wichura 1988, AS 241, PPND7 (relative error about 1e-7).
WAVEGEN_HOST_DEVICE inline float ndtri(float p) {
    float q = p - 0.5f;
    if (fabsf(q) <= 0.425f) {
        float r = 0.180625f - q * q;
        return q * (((5.9109374720e+01f * r + 1.5929113202e+02f) * r + 5.0434271938e+01f) * r + 3.3871327179e+00f) /
               (((6.7187563600e+01f * r + 7.8757757664e+01f) * r + 1.7895169469e+01f) * r + 1.0f);
    }
    float r = sqrtf(-logf(q < 0.0f ? p : 1.0f - p));
    float x;
    if (r <= 5.0f) {
        r -= 1.6f;
        x = (((1.7023821103e-01f * r + 1.3067284816e+00f) * r + 2.7568153900e+00f) * r + 1.4234372777e+00f) /
            ((1.2021132975e-01f * r + 7.3700164250e-01f) * r + 1.0f);
    } else {
        r -= 5.0f;
        x = (((1.7337203997e-02f * r + 4.2868294337e-01f) * r + 3.0812263860e+00f) * r + 6.6579051150e+00f) /
            ((1.2258202635e-02f * r + 2.4197894225e-01f) * r + 1.0f);
    }
    return q < 0.0f ? -x : x;
}

WAVEGEN_HOST_DEVICE inline float clamp_sample(float y) { return fminf(fmaxf(y, -1.0f), 1.0f); }

}  // namespace wavegen::cuda
