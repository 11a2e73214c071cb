// The ops of WaveNet's generation on the CPU: pack weights once, make a state for some streams, generate samples.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "check.h"
#include "cpu/dispatch.h"

namespace wavegen {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

bool all_finite(const float* x, int64_t count) {
    bool fine = true;
    for (int64_t i = 0; i < count; ++i) fine &= std::isfinite(x[i]);
    return fine;
}

// A contiguous float32 tensor of these sizes on the CPU, without NaN and infinite values.
Tensor checked(const Tensor& t, const char* name, const std::vector<int64_t>& sizes) {
    require(t, name, ScalarType::Float, " must be float32", sizes);
    Tensor c = torch::stable::contiguous(t);
    WAVEGEN_CHECK(all_finite(c.const_data_ptr<float>(), c.numel()), name, " holds NaN or infinite values");
    return c;
}

int64_t fingerprint(const Sizes& s, const int64_t* dilations) {
    uint64_t hash = 1469598103934665603u;
    auto mix = [&](int64_t x) { hash = (hash ^ uint64_t(x)) * 1099511628211u; };
    for (int64_t x : {int64_t(s.format), int64_t(s.output), s.residual, s.gate, s.skip, s.head, s.outputs, s.width, s.layers, s.hop})
        mix(x);
    for (int64_t l = 0; l < s.layers; ++l) mix(dilations[l]);
    return int64_t(hash);
}

void check_sizes(const Sizes& s) {
    for (auto [value, name] : {std::pair{s.residual, "residual"}, {s.gate, "gate"}, {s.skip, "skip"}, {s.head, "head"}, {s.outputs, "head2"}})
        WAVEGEN_CHECK(value >= 1 && value <= kMaxChannels, name, " must have 1 to ", kMaxChannels, " channels, not ", value);
    WAVEGEN_CHECK(s.width == 2 || s.width == 3, "dilated must have kernel width 2 or 3, not ", s.width);
    WAVEGEN_CHECK(s.layers >= 1 && s.layers <= kMaxLayers, "dilated must have 1 to ", kMaxLayers, " layers, not ", s.layers);
    WAVEGEN_CHECK(s.hop >= 1 && s.hop <= kMaxHop, "interpolation must have 1 to ", kMaxHop, " samples a frame, not ", s.hop);
    WAVEGEN_CHECK(int64_t(s.format) >= 0 && int64_t(s.format) <= 2, "format must be 0, 1 or 2, not ", int64_t(s.format));
    WAVEGEN_CHECK(int64_t(s.output) >= 0 && int64_t(s.output) <= 2, "output must be 0, 1 or 2, not ", int64_t(s.output));
    WAVEGEN_CHECK(s.output != Output::kGaussian || s.outputs == 2, "head2 must have 2 outputs for a Gaussian, not ", s.outputs);
    WAVEGEN_CHECK(s.output != Output::kLogistics || s.outputs % 3 == 0,
                    "head2 must have three outputs a component for a mixture of logistics, not ", s.outputs);
}

uint16_t to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A matrix given by its elements, written in the order of take_matrix.
template <typename Element>
void pack_matrix(const Matrix& m, Format format, int64_t rows, Element element) {
    auto* weights = const_cast<uint8_t*>(m.weights);
    auto* scales = const_cast<float*>(m.scales);
    std::vector<float> inverse(m.rows, 0.0f);
    if (format == Format::kInt8)
        for (int64_t r = 0; r < rows; ++r) {
            float most = 0;
            for (int64_t k = 0; k < m.columns; ++k) most = std::max(most, std::fabs(element(r, k)));
            scales[r] = most / 127.0f;
            inverse[r] = most > 0 ? 127.0f / most : 0.0f;
        }
    int64_t together = columns_together(format);
    for (int64_t at = 0, next = 0; at < m.rows; at += kPanelBlocks * kLanes) {
        int64_t width = std::min(m.rows - at, kPanelBlocks * kLanes);
        for (int64_t k = 0; k < m.columns; k += together)
            for (int64_t r = at; r < at + width; ++r)
                for (int64_t c = 0; c < together; ++c, ++next) {
                    float x = r < rows ? element(r, k + c) : 0.0f;
                    if (format == Format::kFp32) reinterpret_cast<float*>(weights)[next] = x;
                    if (format == Format::kBf16) reinterpret_cast<uint16_t*>(weights)[next] = to_bf16(x);
                    if (format == Format::kInt8) {
                        int64_t q = std::lrint(x * inverse[r]);
                        reinterpret_cast<int8_t*>(weights)[next] = int8_t(q);
                        auto* offset = reinterpret_cast<uint32_t*>(const_cast<int32_t*>(m.offsets));
                        offset[(k + c) / kInt8Columns * m.rows + r] += uint32_t(q) * 32768u;
                    }
                }
    }
}

// Reads packed weights, or throws if they are not what wavenet_pack made.
struct Unpacked {
    Network network;
    std::vector<Layer> layers;

    explicit Unpacked(const Tensor& weights) {
        WAVEGEN_CHECK(weights.is_cpu() && weights.scalar_type() == ScalarType::Byte && weights.dim() == 1 && weights.is_contiguous(),
                        "weights must be a contiguous uint8 tensor on the CPU, as wavenet_pack gives it");
        const auto* base = weights.const_data_ptr<uint8_t>();
        WAVEGEN_CHECK(uintptr_t(base) % 64 == 0, "weights must be aligned to 64 bytes, as wavenet_pack gives them");
        int64_t fields[kHeaderFields] = {};
        WAVEGEN_CHECK(weights.numel() >= int64_t(sizeof fields), "weights are too short for a header");
        std::memcpy(fields, base, sizeof fields);
        WAVEGEN_CHECK(fields[0] == kWeightsMagic && fields[1] == weights.numel(), "weights are damaged, or not from wavenet_pack");
        Sizes s{Format(fields[2]), Output(fields[3]), fields[4], fields[5], fields[6], fields[7], fields[8], fields[9], fields[10], fields[11]};
        check_sizes(s);
        layers.resize(s.layers);
        Walker walk(base);
        lay_out(walk, s, &network, layers.data());
        WAVEGEN_CHECK(walk.bytes() == weights.numel(), "weights are damaged: their size does not fit their header");
        for (int64_t l = 0; l < s.layers; ++l) {
            layers[l].dilation = network.dilations[l];
            WAVEGEN_CHECK(layers[l].dilation >= 1 && layers[l].dilation <= kMaxDilation, "weights are damaged: dilation ", layers[l].dilation);
        }
    }
};

Tensor wavenet_pack(const Tensor input, const Tensor dilated, const Tensor dilated_bias, const Tensor residual, const Tensor residual_bias,
                    const Tensor skip, const Tensor skip_bias, const Tensor head1, const Tensor head1_bias, const Tensor head2,
                    const Tensor head2_bias, const Tensor interpolation, std::vector<int64_t> dilations, int64_t output, int64_t format) {
    WAVEGEN_CHECK(dilated.dim() == 4 && dilated.size(1) % 2 == 0, "dilated must be (layers, 2 gate, residual, width)");
    WAVEGEN_CHECK(interpolation.dim() == 2, "interpolation must be (3, hop)");
    WAVEGEN_CHECK(skip_bias.dim() == 1 && head1_bias.dim() == 1 && head2_bias.dim() == 1, "biases must have one dimension");
    Sizes s{Format(format), Output(output), dilated.size(2), dilated.size(1) / 2, skip_bias.numel(), head1_bias.numel(),
            head2_bias.numel(), dilated.size(3), dilated.size(0), interpolation.size(1)};
    check_sizes(s);
    WAVEGEN_CHECK(int64_t(dilations.size()) == s.layers, "dilations must be ", s.layers, ", one a layer, not ", dilations.size());
    for (int64_t d : dilations) WAVEGEN_CHECK(d >= 1 && d <= kMaxDilation, "dilations must be from 1 to ", kMaxDilation, ", not ", d);
    Network net;
    std::vector<Layer> layers(s.layers);
    Walker measure(nullptr);
    lay_out(measure, s, &net, layers.data());
    int64_t inputs = net.inputs();

    Tensor in = checked(input, "input", {inputs, s.residual});
    Tensor w = checked(dilated, "dilated", {s.layers, 2 * s.gate, s.residual, s.width});
    Tensor wb = checked(dilated_bias, "dilated_bias", {s.layers, 2 * s.gate});
    Tensor r = checked(residual, "residual", {s.layers - 1, s.residual, s.gate});
    Tensor rb = checked(residual_bias, "residual_bias", {s.layers - 1, s.residual});
    Tensor sk = checked(skip, "skip", {s.skip, s.layers * s.gate});
    Tensor skb = checked(skip_bias, "skip_bias", {s.skip});
    Tensor h1 = checked(head1, "head1", {s.head, s.skip});
    Tensor h1b = checked(head1_bias, "head1_bias", {s.head});
    Tensor h2 = checked(head2, "head2", {s.outputs, s.head});
    Tensor h2b = checked(head2_bias, "head2_bias", {s.outputs});
    Tensor u = checked(interpolation, "interpolation", {kTaps, s.hop});

    Tensor packed = torch::stable::new_zeros(input, {measure.bytes()}, ScalarType::Byte);
    auto* base = packed.mutable_data_ptr<uint8_t>();
    Walker walk(base);
    lay_out(walk, s, &net, layers.data());
    int64_t fields[kHeaderFields] = {kWeightsMagic, walk.bytes(), format, output, s.residual, s.gate, s.skip, s.head, s.outputs, s.width, s.layers, s.hop};
    std::memcpy(base, fields, sizeof fields);
    std::memcpy(const_cast<int64_t*>(net.dilations), dilations.data(), 8 * s.layers);
    int64_t pr = padded(s.residual), pg = padded(s.gate);
    auto fill = [](const float* to, int64_t step, const float* from, int64_t rows, int64_t columns) {
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t c = 0; c < columns; ++c) const_cast<float*>(to)[i * step + c] = from[i * columns + c];
    };
    fill(net.input, pr, in.const_data_ptr<float>(), inputs, s.residual);
    fill(net.interpolation, s.hop, u.const_data_ptr<float>(), kTaps, s.hop);
    fill(net.gate_bias, pg, wb.const_data_ptr<float>(), 2 * s.layers, s.gate);
    if (s.layers > 1) fill(net.residual_bias, pr, rb.const_data_ptr<float>(), s.layers - 1, s.residual);
    fill(net.skip_bias, padded(s.skip), skb.const_data_ptr<float>(), 1, s.skip);
    fill(net.head1_bias, padded(s.head), h1b.const_data_ptr<float>(), 1, s.head);
    fill(net.head2_bias, padded(s.outputs), h2b.const_data_ptr<float>(), 1, s.outputs);

    const float *wp = w.const_data_ptr<float>(), *rp = s.layers > 1 ? r.const_data_ptr<float>() : nullptr;
    for (int64_t l = 0; l < s.layers; ++l) {
        for (int64_t tap = 0; tap < s.width; ++tap)
            pack_matrix(tap + 1 == s.width ? layers[l].current : layers[l].older[tap], s.format, 2 * pg, [&](int64_t m, int64_t k) {
                int64_t row = m < pg ? m : m - pg;  // tanh's rows, then the sigmoid's, each padded
                if (row >= s.gate || k >= s.residual) return 0.0f;
                row += m < pg ? 0 : s.gate;
                return wp[((l * 2 * s.gate + row) * s.residual + k) * s.width + tap];
            });
        if (l + 1 < s.layers)
            pack_matrix(layers[l].residual, s.format, s.residual,
                        [&](int64_t m, int64_t k) { return k < s.gate ? rp[(l * s.residual + m) * s.gate + k] : 0.0f; });
    }
    const float *sp = sk.const_data_ptr<float>(), *p1 = h1.const_data_ptr<float>(), *p2 = h2.const_data_ptr<float>();
    pack_matrix(net.skip, s.format, s.skip, [&](int64_t m, int64_t k) {
        return k % pg < s.gate ? sp[(m * s.layers + k / pg) * s.gate + k % pg] : 0.0f;
    });
    pack_matrix(net.head1, s.format, s.head, [&](int64_t m, int64_t k) { return k < s.skip ? p1[m * s.skip + k] : 0.0f; });
    pack_matrix(net.head2, s.format, s.outputs, [&](int64_t m, int64_t k) { return k < s.head ? p2[m * s.head + k] : 0.0f; });
    return packed;
}

Tensor wavenet_state(const Tensor weights, int64_t streams) {
    Unpacked u(weights);
    const Sizes& s = u.network.sizes;
    WAVEGEN_CHECK(streams >= 1 && streams <= kMaxStreams, "streams must be from 1 to ", kMaxStreams, ", not ", streams);
    double wanted = double(streams) * double(stream_slots(s, u.network.dilations)) * double(slot_bytes(s));
    WAVEGEN_CHECK(wanted < 1e15, "streams: the state of ", streams, " would take ", wanted / 1e9, " GB");
    int64_t bytes = state_bytes(s, u.network.dilations, streams);
    Tensor state = torch::stable::new_zeros(weights, {bytes}, ScalarType::Byte);
    StateHeader header{kStateMagic, bytes, streams, 0, fingerprint(s, u.network.dilations)};
    auto* base = state.mutable_data_ptr<uint8_t>();
    std::memcpy(base, &header, sizeof header);
    // The value before the first sample is silence: for the softmax the class of 0.
    auto* values = reinterpret_cast<float*>(base + aligned(sizeof header));
    for (int64_t b = 0; b < streams; ++b) values[b] = s.output == Output::kSoftmax ? float(s.outputs / 2) : 0.0f;
    return state;
}

// The conditioning as the kernel reads it: the gate's channels padded.
std::vector<float> padded_conditioning(const float* from, int64_t count, int64_t gate) {
    std::vector<float> to(count * padded(gate), 0.0f);
    for (int64_t i = 0; i < count; ++i) std::memcpy(&to[i * padded(gate)], from + i * gate, 4 * gate);
    return to;
}

std::tuple<Tensor, Tensor> wavenet_generate(const Tensor weights, Tensor state, const Tensor conditioning, const Tensor uniforms,
                                            const Tensor lengths, std::optional<Tensor> forced, double temperature, int64_t top_k,
                                            double top_p, bool with_parameters) {
    Unpacked u(weights);
    const Network& net = u.network;
    const Sizes& s = net.sizes;
    WAVEGEN_CHECK(state.is_cpu() && state.scalar_type() == ScalarType::Byte && state.dim() == 1 && state.is_contiguous(),
                    "state must be a contiguous uint8 tensor on the CPU, as wavenet_state gives it");
    auto* base = state.mutable_data_ptr<uint8_t>();
    StateHeader header;
    WAVEGEN_CHECK(state.numel() >= int64_t(sizeof header) && uintptr_t(base) % 64 == 0, "state is not from wavenet_state");
    std::memcpy(&header, base, sizeof header);
    WAVEGEN_CHECK(header.magic == kStateMagic && header.bytes == state.numel(), "state is damaged, or not from wavenet_state");
    WAVEGEN_CHECK(header.fingerprint == fingerprint(s, net.dilations), "state was made for other weights");
    WAVEGEN_CHECK(header.time >= 0 && header.time < kMaxTime && header.streams >= 1 && header.streams <= kMaxStreams && header.bytes == state_bytes(s, net.dilations, header.streams), "state is damaged");

    WAVEGEN_CHECK(uniforms.dim() == 3, "uniforms must be (streams, samples, ", net.uniforms(), ")");
    int64_t streams = header.streams, samples = uniforms.size(1), time = header.time;
    WAVEGEN_CHECK(samples >= 1, "uniforms hold no samples");
    Tensor draws = checked(uniforms, "uniforms", {streams, samples, net.uniforms()});
    const float* up = draws.const_data_ptr<float>();
    for (int64_t i = 0; i < draws.numel(); ++i) WAVEGEN_CHECK(up[i] > 0.0f && up[i] < 1.0f, "uniforms must lie between 0 and 1, not ", up[i]);
    int64_t frames = (time + samples - 1) / s.hop - time / s.hop + kTaps;
    Tensor cond = checked(conditioning, "conditioning", {streams, frames, s.layers, 2 * s.gate});
    WAVEGEN_CHECK(lengths.is_cpu() && lengths.scalar_type() == ScalarType::Long && lengths.dim() == 1 && lengths.size(0) == streams,
                    "lengths must be int64 (", streams, ") on the CPU");
    Tensor counts = torch::stable::contiguous(lengths);
    auto* values = reinterpret_cast<float*>(base + aligned(sizeof header));
    for (int64_t b = 0; b < streams; ++b) {
        int64_t length = counts.const_data_ptr<int64_t>()[b];
        WAVEGEN_CHECK(length >= 0 && length <= samples, "lengths must be from 0 to ", samples, ", not ", length);
        WAVEGEN_CHECK(length == 0 || !std::isnan(values[b]), "lengths: stream ", b, " has ended before and cannot go on");
        WAVEGEN_CHECK(s.output != Output::kSoftmax || std::isnan(values[b]) || (values[b] >= 0 && values[b] < s.outputs), "state is damaged");
    }
    Tensor given = uniforms;
    if (forced.has_value()) {
        given = checked(*forced, "forced", {streams, samples});
        const float* f = given.const_data_ptr<float>();
        for (int64_t i = 0; i < given.numel() && s.output == Output::kSoftmax; ++i)
            WAVEGEN_CHECK(f[i] >= 0 && f[i] < s.outputs && f[i] == std::floor(f[i]), "forced must hold classes from 0 to ", s.outputs - 1, ", not ", f[i]);
    }
    WAVEGEN_CHECK(temperature >= 0 && std::isfinite(float(temperature)), "temperature must be 0 or more, not ", temperature);
    WAVEGEN_CHECK(top_k >= 0, "top_k must be 0 or more, not ", top_k);
    WAVEGEN_CHECK(top_p > 0 && top_p <= 1, "top_p must be over 0 and up to 1, not ", top_p);

    Tensor out = torch::stable::new_zeros(uniforms, {streams, samples}, ScalarType::Float);
    Tensor parameters = torch::stable::new_zeros(uniforms, {with_parameters ? streams : 0, samples, s.outputs}, ScalarType::Float);
    const float* cp = cond.const_data_ptr<float>();
    std::vector<float> roomy;
    if (s.gate % kLanes) {
        roomy = padded_conditioning(cp, streams * frames * s.layers * 2, s.gate);
        cp = roomy.data();
    }
    GenerateCall call{&net, u.layers.data(), base, cp, up, counts.const_data_ptr<int64_t>(),
                      forced.has_value() ? given.const_data_ptr<float>() : nullptr, out.mutable_data_ptr<float>(),
                      with_parameters ? parameters.mutable_data_ptr<float>() : nullptr,
                      streams, samples, frames, time, float(temperature), float(top_p), top_k};
    const Kernels& cpu = kernels();
    std::atomic<bool> memory{true}, finite{true};
    int64_t threads = torch::stable::get_num_threads();
    int64_t share = (streams + threads - 1) / threads;
    torch::stable::parallel_for(0, streams, share, [&](int64_t first, int64_t last) {
        Outcome outcome = cpu.generate(call, first, last);
        if (outcome == Outcome::kNoMemory) memory = false;
        if (outcome == Outcome::kOverflow) finite = false;
    });
    if (!memory || !finite)
        for (int64_t b = 0; b < streams; ++b) values[b] = NAN;  // some streams have moved on and others not
    WAVEGEN_CHECK(finite, "weights or conditioning are so large that the network's outputs overflow");
    WAVEGEN_CHECK(memory, "no memory for ", streams, " streams");
    header.time += samples;
    std::memcpy(base, &header, sizeof header);
    for (int64_t b = 0; b < streams; ++b)
        if (call.lengths[b] < samples) values[b] = NAN;  // its rings have stopped
    return {out, parameters};
}

}  // namespace
}  // namespace wavegen

STABLE_TORCH_LIBRARY_IMPL(wavegen, CPU, m) {
    m.impl("wavenet_pack", TORCH_BOX(&wavegen::wavenet_pack));
    m.impl("wavenet_state", TORCH_BOX(&wavegen::wavenet_state));
    m.impl("wavenet_generate", TORCH_BOX(&wavegen::wavenet_generate));
}
