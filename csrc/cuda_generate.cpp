// WaveNet's generation on CUDA: checks, memory, the launch. The kernel is in cuda/generate.cu.
#include <cmath>
#include <cstdlib>
#include <string>
#include <tuple>

#include "cuda/binding.h"
#include "cuda/generate.h"

namespace wavegen::cuda {
namespace {

void check_range(const char* name, int64_t value, int64_t most) {
    STD_TORCH_CHECK(value >= 1 && value <= most, "weights: ", name, " must be between 1 and ", most, ", not ", value);
}

void check_weights(const WeightsHeader& header, int64_t bytes) {
    STD_TORCH_CHECK(header.magic == kWeightsMagic && header.bytes == bytes,
                    "weights are damaged, or packed for another device or version");
    const Sizes& s = header.sizes;
    STD_TORCH_CHECK(int64_t(s.format) >= 0 && int64_t(s.format) <= 2, "weights are damaged: format");
    STD_TORCH_CHECK(int64_t(s.output) >= 0 && int64_t(s.output) <= 2, "weights are damaged: output");
    check_range("residual", s.residual, kMaxGated);
    check_range("gate", s.gate, kMaxGated);
    check_range("skip", s.skip, kMaxSummed);
    check_range("head", s.head, kMaxSummed);
    check_range("outputs", s.outputs, kMaxSummed);
    check_range("layers", s.layers, kMaxLayers);
    check_range("hop", s.hop, kMaxHop);
    STD_TORCH_CHECK(s.width == 2 || s.width == 3, "weights: width must be 2 or 3, not ", s.width);
    STD_TORCH_CHECK(s.output != Output::kGaussian || s.outputs == 2, "weights: a Gaussian has 2 outputs");
    STD_TORCH_CHECK(s.output != Output::kLogistics || s.outputs % 3 == 0, "weights: logistics have 3 outputs each");
    STD_TORCH_CHECK(s.slots >= s.layers && s.slots <= 4 * kMaxLayers * kMaxDilation, "weights are damaged: slots");
    STD_TORCH_CHECK(lay_out(s).total == bytes, "weights are damaged: their size does not fit their header");
}

void check_state(const StateHeader& header, const Sizes& s, int64_t bytes) {
    STD_TORCH_CHECK(header.magic == kStateMagic && header.bytes == bytes, "state is damaged");
    STD_TORCH_CHECK(header.slots == s.slots && header.slot_bytes == slot_bytes(s.format, s.residual),
                    "state was made for other weights");
    STD_TORCH_CHECK(header.streams >= 1 && header.streams <= bytes && header.time >= 0 &&
                        state_bytes(s, header.streams) == bytes,
                    "state is damaged");
}

const float* read(const Tensor& t) { return static_cast<const float*>(t.const_data_ptr()); }

// The cluster size that the environment asks for; 0: as the plan sees fit.
int asked_variant() {
    const char* text = std::getenv("WAVEGEN_CUDA_CLUSTER");
    if (text == nullptr || *text == '\0') return 0;
    for (int size : {1, 2, 4, 8, 16})
        if (std::to_string(size) == text) return size;
    STD_TORCH_CHECK(false, "WAVEGEN_CUDA_CLUSTER must be 1, 2, 4, 8 or 16, not ", text);
}

void check_bytes(const Tensor& t, const char* name, size_t header) {
    STD_TORCH_CHECK(t.dim() == 1 && t.scalar_type() == ScalarType::Byte && t.is_contiguous(), name,
                    " must be a contiguous 1-D uint8 tensor");
    STD_TORCH_CHECK(t.numel() >= int64_t(header), name, " is too short for its header");
    STD_TORCH_CHECK(reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0, name, " must be aligned to 16 bytes");
}

// Copies from the device, in the order of the stream; to be waited for.
void fetch(void* to, const void* from, size_t bytes, cudaStream_t stream) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "reading the state");
}

std::tuple<Tensor, Tensor> wavenet_generate(Tensor weights, Tensor state, Tensor conditioning, Tensor uniforms,
                                            Tensor lengths, Optional forced, double temperature, int64_t top_k,
                                            double top_p, bool with_parameters) {
    STD_TORCH_CHECK(weights.is_cuda(), "weights must be on a CUDA device");
    check_bytes(weights, "weights", sizeof(WeightsHeader));
    check_bytes(state, "state", sizeof(StateHeader));
    STD_TORCH_CHECK(state.is_cuda() && state.get_device_index() == weights.get_device_index(),
                    "state must be on the device of weights");
    STD_TORCH_CHECK(std::isfinite(temperature) && temperature >= 0, "temperature must be 0 or more, not ", temperature);
    STD_TORCH_CHECK(top_k >= 0, "top_k must be 0 or more, not ", top_k);
    STD_TORCH_CHECK(top_p > 0 && top_p <= 1, "top_p must be over 0 and at most 1, not ", top_p);

    const torch::stable::accelerator::DeviceGuard guard(weights.get_device_index());
    const cudaStream_t stream = current_stream(weights);
    WeightsHeader header;
    StateHeader was;
    fetch(&header, weights.const_data_ptr(), sizeof header, stream);
    fetch(&was, state.const_data_ptr(), sizeof was, stream);
    check_cuda(cudaStreamSynchronize(stream), "reading the state");
    check_weights(header, weights.numel());
    const Sizes& s = header.sizes;
    check_state(was, s, state.numel());

    const int64_t streams = was.streams, draws = s.output == Output::kLogistics ? 2 : 1;
    STD_TORCH_CHECK(uniforms.dim() == 3 && uniforms.size(1) >= 1, "uniforms must be (streams, samples, ", draws, ")");
    const int64_t samples = uniforms.size(1);
    STD_TORCH_CHECK(samples < int64_t(1) << 31, "uniforms: a call makes fewer than 2^31 samples");
    const int64_t frames = (was.time + samples - 1) / s.hop - was.time / s.hop + 3;
    uniforms = checked(uniforms, "uniforms", weights, ScalarType::Float, {streams, samples, draws});
    conditioning =
        checked(conditioning, "conditioning", weights, ScalarType::Float, {streams, frames, s.layers, 2 * s.gate});
    lengths = checked(lengths, "lengths", weights, ScalarType::Long, {streams});
    forced = checked(forced, "forced", weights, ScalarType::Float, {streams, samples});

    const bool softmax = s.output == Output::kSoftmax;
    std::vector<int64_t> counts(streams);
    std::vector<float> last(streams);
    fetch(counts.data(), lengths.const_data_ptr(), streams * sizeof(int64_t), stream);
    const RangeCheck checks[] = {
        {read(uniforms), uniforms.numel(), 0.0f, 1.0f, false, nullptr},
        {read(conditioning), conditioning.numel(), -INFINITY, INFINITY, false, nullptr},
        {forced.has_value() ? read(*forced) : nullptr, forced.has_value() ? forced->numel() : 0,
         softmax ? -1.0f : -INFINITY, softmax ? float(s.outputs) : INFINITY, softmax, nullptr}};
    Tensor found = torch::stable::new_zeros(lengths, {3}, ScalarType::Int);
    int32_t wrong[3];
    for (int i = 0; i < 3; ++i) {
        RangeCheck check = checks[i];
        check.found = static_cast<int32_t*>(found.mutable_data_ptr()) + i;
        if (check.count > 0) check_cuda(launch_check(check, stream), "checking values");
    }
    fetch(wrong, found.const_data_ptr(), sizeof wrong, stream);
    fetch(last.data(), static_cast<const uint8_t*>(state.const_data_ptr()) + sizeof(StateHeader),
          streams * sizeof(float), stream);
    check_cuda(cudaStreamSynchronize(stream), "reading lengths");
    STD_TORCH_CHECK(wrong[0] == 0, "uniforms must lie between 0 and 1");
    STD_TORCH_CHECK(wrong[1] == 0, "conditioning holds NaN or infinite values");
    STD_TORCH_CHECK(wrong[2] == 0,
                    softmax ? "forced must hold classes" : "forced holds NaN or infinite values");
    for (int64_t b = 0; b < streams; ++b) {
        STD_TORCH_CHECK(counts[b] >= 0 && counts[b] <= samples, "lengths must lie between 0 and ", samples, ", not ",
                        counts[b]);
        STD_TORCH_CHECK(counts[b] == 0 || !std::isnan(last[b]), "lengths: stream ", b,
                        " has ended before and cannot go on");
    }

    Plan plan;
    const char* why = plan_generate(s, streams, asked_variant(), &plan);
    STD_TORCH_CHECK(why == nullptr, "wavenet_generate: ", why);
    Tensor values = torch::stable::new_zeros(uniforms, {streams, samples}, ScalarType::Float);
    Tensor parameters =
        torch::stable::new_zeros(uniforms, {with_parameters ? streams : 0, samples, s.outputs}, ScalarType::Float);
    const GenerateCall call = {s,
                               static_cast<const uint8_t*>(weights.const_data_ptr()),
                               static_cast<uint8_t*>(state.mutable_data_ptr()),
                               was.time,
                               read(conditioning),
                               read(uniforms),
                               static_cast<const int64_t*>(lengths.const_data_ptr()),
                               forced.has_value() ? read(*forced) : nullptr,
                               static_cast<float*>(values.mutable_data_ptr()),
                               with_parameters ? static_cast<float*>(parameters.mutable_data_ptr()) : nullptr,
                               streams,
                               samples,
                               frames,
                               float(temperature),
                               float(top_p),
                               int(top_k < s.outputs ? top_k : 0)};
    check_cuda(launch_generate(call, plan, stream), "wavenet_generate");
    return {values, parameters};
}

}  // namespace
}  // namespace wavegen::cuda

STABLE_TORCH_LIBRARY_IMPL(wavegen, CUDA, m) {
    m.impl("wavenet_generate", TORCH_BOX(&wavegen::cuda::wavenet_generate));
}
