// A warp draws one sample from the head's outputs and uniforms.
//
// Outputs lie in shared memory with a gap after every 32, so that lanes that each walk a run of classes meet no bank
// conflicts. Classes are dealt to lanes in runs, in class order, which makes cumulative sums one scan.
#pragma once

#include "numerics.h"
#include "simt.h"

namespace wavegen::cuda {

WAVEGEN_HOST_DEVICE inline int skewed(int i) { return i + i / kWarp; }

struct Sampler {
    float temperature;
    float top_p;
    int top_k;
};

template <typename T>
WAVEGEN_DEVICE T warp_sum(T value) {
    for (int d = kWarp / 2; d > 0; d /= 2) value += simt::shuffle_xor(value, d);
    return value;
}

WAVEGEN_DEVICE float warp_max(float value) {
    for (int d = kWarp / 2; d > 0; d /= 2) value = fmaxf(value, simt::shuffle_xor(value, d));
    return value;
}

// Sum over the lanes before this one.
template <typename T>
WAVEGEN_DEVICE T warp_before(T value) {
    T sum = value;
    for (int d = 1; d < kWarp; d *= 2) {
        T other = simt::shuffle_up(sum, d);
        if (simt::lane() >= d) sum += other;
    }
    T shifted = simt::shuffle_up(sum, 1);
    return simt::lane() == 0 ? T(0) : shifted;
}

// This lane's run of classes.
struct Run {
    int first, last;
};
WAVEGEN_DEVICE Run lane_run(int classes) {
    int each = (classes + kWarp - 1) / kWarp, first = simt::lane() * each;
    if (first > classes) first = classes;
    return {first, first + each < classes ? first + each : classes};
}

WAVEGEN_DEVICE int first_lane(uint32_t votes) {
    int lane = 0;
    while (!(votes >> lane & 1u)) ++lane;
    return lane;
}

// The lowest class with the largest value.
WAVEGEN_DEVICE int warp_argmax(const float* values, int classes) {
    Run run = lane_run(classes);
    float best = -INFINITY;
    int at = run.first;
    for (int i = run.first; i < run.last; ++i)
        if (values[skewed(i)] > best) best = values[skewed(at = i)];
    float top = warp_max(best);
    uint32_t votes = simt::ballot(best == top && run.first < run.last);
    return votes == 0 ? 0 : simt::shuffle(at, first_lane(votes));  // no vote: every value is NaN
}

// Non-negative floats sort as their bits do.
WAVEGEN_DEVICE float from_bits(uint32_t bits) {
    union {
        uint32_t u;
        float f;
    } pun = {bits};
    return pun.f;
}

// How much of p is at least `threshold`: of mass, or of classes with any mass.
template <bool Mass>
WAVEGEN_DEVICE float warp_amount(const float* p, Run run, float threshold) {
    float amount = 0.0f;
    for (int i = run.first; i < run.last; ++i) {
        float v = p[skewed(i)];
        if (v >= threshold && v > 0.0f) amount += Mass ? v : 1.0f;
    }
    return warp_sum(amount);
}

// Zeroes all but the shortest prefix, in the order of falling p and rising class, whose amount reaches `target`.
template <bool Mass>
WAVEGEN_DEVICE void keep_prefix(float* p, int classes, float target) {
    Run run = lane_run(classes);
    uint32_t low = 1u, high = 0x7f800000u;  // the largest threshold that still keeps enough lies in [low, high)
    if (!(warp_amount<Mass>(p, run, from_bits(low)) >= target)) return;  // all of it is not enough: keep all
    while (high - low > 1u) {
        uint32_t middle = low + (high - low) / 2u;
        if (warp_amount<Mass>(p, run, from_bits(middle)) >= target)
            low = middle;
        else
            high = middle;
    }
    float threshold = from_bits(low);
    float above = warp_amount<Mass>(p, run, from_bits(low + 1u));
    int ties = 0;
    for (int i = run.first; i < run.last; ++i) ties += p[skewed(i)] == threshold;
    int rank = warp_before(ties);
    float unit = Mass ? threshold : 1.0f;
    for (int i = run.first; i < run.last; ++i) {
        float v = p[skewed(i)];
        bool keep = v > threshold;
        if (v == threshold) {
            keep = above + float(rank) * unit < target;
            ++rank;
        }
        if (!keep) p[skewed(i)] = 0.0f;
    }
    simt::sync_warp();
}

// The first class in class order whose cumulative p exceeds u times the whole.
WAVEGEN_DEVICE int warp_choose(const float* p, int classes, float u) {
    Run run = lane_run(classes);
    float mine = 0.0f;
    for (int i = run.first; i < run.last; ++i) mine += p[skewed(i)];
    float before = warp_before(mine);
    float target = u * simt::shuffle(before + mine, kWarp - 1);
    int found = -1, last = -1;
    float sum = before;
    for (int i = run.first; i < run.last; ++i) {
        float v = p[skewed(i)];
        sum += v;
        if (v > 0.0f) last = i;
        if (found < 0 && sum > target) found = i;
    }
    uint32_t votes = simt::ballot(found >= 0);
    if (votes != 0) return simt::shuffle(found, first_lane(votes));
    int best = last;  // rounding let no sum exceed the target: the last class with any mass
    for (int d = kWarp / 2; d > 0; d /= 2) {
        int other = simt::shuffle_xor(best, d);
        best = other > best ? other : best;
    }
    return best < 0 ? 0 : best;
}

// Draws from softmax(logits / temperature), cut to top_k classes and then to top_p of their mass. Overwrites logits.
WAVEGEN_DEVICE int sample_classes(float* logits, int classes, const Sampler& how, float u) {
    if (how.temperature == 0.0f) return warp_argmax(logits, classes);
    Run run = lane_run(classes);
    float top = -INFINITY;
    for (int i = run.first; i < run.last; ++i) top = fmaxf(top, logits[skewed(i)]);
    top = warp_max(top);
    float mass = 0.0f;
    for (int i = run.first; i < run.last; ++i) {
        float e = expf((logits[skewed(i)] - top) / how.temperature);
        logits[skewed(i)] = e;
        mass += e;
    }
    simt::sync_warp();
    if (how.top_k > 0 && how.top_k < classes) {
        keep_prefix<false>(logits, classes, float(how.top_k));
        mass = 0.0f;
        for (int i = run.first; i < run.last; ++i) mass += logits[skewed(i)];
    }
    if (how.top_p < 1.0f) keep_prefix<true>(logits, classes, how.top_p * warp_sum(mass));
    return warp_choose(logits, classes, u);
}

WAVEGEN_DEVICE float sample_gaussian(const float* outputs, const Sampler& how, float u) {
    float scale = expf(fmaxf(outputs[1], kLogScaleFloor));
    float noise = how.temperature == 0.0f ? 0.0f : scale * how.temperature * ndtri(u);
    return clamp_sample(outputs[0] + noise);
}

// outputs: K logits, K means, K log scales.
WAVEGEN_DEVICE float sample_logistics(float* outputs, int mixtures, const Sampler& how, float u, float v) {
    Sampler all = {how.temperature, 1.0f, 0};
    int k = sample_classes(outputs, mixtures, all, u);
    float scale = expf(fmaxf(outputs[skewed(2 * mixtures + k)], kLogScaleFloor));
    float noise = how.temperature == 0.0f ? 0.0f : scale * how.temperature * (logf(v) - log1pf(-v));
    return clamp_sample(outputs[skewed(mixtures + k)] + noise);
}

}  // namespace wavegen::cuda
