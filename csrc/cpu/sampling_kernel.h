// From the head's outputs and uniforms to the next sample. References: wavegen/vocoders/distributions.py.
#pragma once

#include "generate.h"
#include "vec.h"

namespace wavegen::WAVEGEN_ISA {

// The quantile of the standard normal distribution, to double precision (Wichura 1988, algorithm AS 241).
inline double normal_quantile(double u) {
    double q = u - 0.5;
    if (std::fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        double top = (((((((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r +
                          4.5921953931549871457e4) * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3) * r +
                       1.3314166789178437745e2) * r + 3.3871328727963666080e0);
        double bottom = (((((((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r +
                             2.1213794301586595867e4) * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2) * r +
                          4.2313330701600911252e1) * r + 1.0);
        return q * top / bottom;
    }
    double r = std::sqrt(-std::log(q < 0 ? u : 1.0 - u));
    double x;
    if (r <= 5.0) {
        r -= 1.6;
        double top = (((((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r +
                          1.27045825245236838258e0) * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0) * r +
                       4.63033784615654529590e0) * r + 1.42343711074968357734e0);
        double bottom = (((((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r +
                             1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0) * r +
                          2.05319162663775882187e0) * r + 1.0);
        x = top / bottom;
    } else {
        r -= 5.0;
        double top = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r +
                          2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0) * r +
                       5.46378491116411436990e0) * r + 6.65790464350110377720e0);
        double bottom = (((((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r +
                             7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1) * r +
                          5.99832206555887937690e-1) * r + 1.0);
        x = top / bottom;
    }
    return q < 0 ? -x : x;
}

inline int64_t index_of_largest(const float* x, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; ++i)
        if (x[i] > x[best]) best = i;
    return best;
}

// Room for the choice among `count` classes, padded: their masses, and a heap of their numbers.
struct SamplingRoom {
    float* mass;
    int32_t* heap;
};

// Masses exp((logit - largest) / temperature) of all classes; those beyond the last are zero.
inline void masses(const float* logits, int64_t count, float temperature, float* mass) {
    float most = logits[index_of_largest(logits, count)];
    F16 unit = set1(temperature);  // divided by, for the inverse of a tiny one is infinite
    for (int64_t i = 0; i < padded(count); i += kLanes)
        store(mass + i, exp(div(sub(load(logits + i), set1(most)), unit)));
    for (int64_t i = count; i < padded(count); ++i) mass[i] = 0.0f;
}

// Whether class a comes after class b in the order by mass, then by number.
inline bool after(const float* mass, int32_t a, int32_t b) { return mass[a] < mass[b] || (mass[a] == mass[b] && a > b); }

inline void sink(const float* mass, int32_t* heap, int64_t count, int64_t at) {
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && after(mass, heap[child], heap[child + 1])) ++child;
        if (!after(mass, heap[at], heap[child])) return;
        int32_t moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

// Keeps the top_k likeliest classes, of these the fewest that hold top_p of their mass, and sets the others' mass to 0.
inline void truncate(float* mass, int64_t count, int64_t top_k, float top_p, int32_t* heap) {
    for (int64_t i = 0; i < count; ++i) heap[i] = int32_t(i);
    for (int64_t i = count / 2 - 1; i >= 0; --i) sink(mass, heap, count, i);
    int64_t most = top_k > 0 && top_k < count ? top_k : count;
    double total = 0;
    if (most == count)
        for (int64_t i = 0; i < count; ++i) total += mass[i];
    // The heap shrinks from its end, where those taken off line up: the likeliest last.
    int64_t left = count;
    for (int64_t taken = 0; taken < most && (most < count || top_p < 1.0f); ++taken) {
        int32_t first = heap[0];
        heap[0] = heap[--left];
        heap[left] = first;
        sink(mass, heap, left, 0);
        if (most < count) total += mass[first];
    }
    int64_t kept = 0;
    double reached = 0;
    while (kept < most && (kept == 0 || reached < double(top_p) * total || top_p >= 1.0f)) reached += mass[heap[count - ++kept]];
    for (int64_t i = 0; i < count - kept; ++i) mass[heap[i]] = 0.0f;
}

// The first class whose cumulative mass exceeds u times the whole.
inline int64_t draw(const float* mass, int64_t count, float u) {
    int64_t blocks = padded(count) / kLanes;
    double total = 0;
    for (int64_t b = 0; b < blocks; ++b) total += sum(load(mass + b * kLanes));
    double target = double(u) * total, reached = 0;
    int64_t last = 0;  // where rounding leaves the target out of reach, the last class with any mass
    for (int64_t b = 0; b < blocks; ++b) {
        const float* m = mass + b * kLanes;
        double whole = sum(load(m));
        if (whole == 0) continue;
        double inside = reached;
        for (int64_t i = 0; reached + whole >= target * (1 - 1e-6) && i < kLanes; ++i) {
            inside += m[i];
            if (inside > target) return b * kLanes + i;
        }
        for (int64_t i = kLanes - 1; i >= 0; --i)
            if (m[i] > 0) {
                last = b * kLanes + i;
                break;
            }
        reached += whole;
    }
    return last;
}

inline float within_one(float y) { return y < -1.0f ? -1.0f : y > 1.0f ? 1.0f : y; }

inline float log_scale(float x) { return x < kLogScaleFloor ? kLogScaleFloor : x; }

// The next value, a class number or a sample, from the head's outputs and the sample's uniforms.
inline float sample(const GenerateCall& call, const float* outputs, const float* u, const SamplingRoom& room) {
    const Sizes& s = call.network->sizes;
    float temperature = call.temperature;
    if (s.output == Output::kSoftmax) {
        if (temperature == 0.0f) return float(index_of_largest(outputs, s.outputs));
        masses(outputs, s.outputs, temperature, room.mass);
        if ((call.top_k > 0 && call.top_k < s.outputs) || call.top_p < 1.0f)
            truncate(room.mass, s.outputs, call.top_k, call.top_p, room.heap);
        return float(draw(room.mass, s.outputs, u[0]));
    }
    if (s.output == Output::kGaussian) {
        double scale = std::exp(double(log_scale(outputs[1])));
        double offset = temperature == 0.0f ? 0.0 : scale * temperature * normal_quantile(u[0]);
        return within_one(float(outputs[0] + offset));
    }
    int64_t mixtures = s.outputs / 3;
    int64_t k = index_of_largest(outputs, mixtures);
    if (temperature == 0.0f) return within_one(outputs[mixtures + k]);
    float most = outputs[k];
    double total = 0, reached = 0;
    for (int64_t i = 0; i < mixtures; ++i) total += std::exp(double(outputs[i] - most) / temperature);
    for (k = 0; k < mixtures - 1; ++k) {
        reached += std::exp(double(outputs[k] - most) / temperature);
        if (reached > double(u[0]) * total) break;
    }
    double scale = std::exp(double(log_scale(outputs[2 * mixtures + k])));
    double offset = scale * temperature * (std::log(double(u[1])) - std::log1p(-double(u[1])));
    return within_one(float(outputs[mixtures + k] + offset));
}

}  // namespace wavegen::WAVEGEN_ISA
