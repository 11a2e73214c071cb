// The gated dilated layer on the CPU: checks, memory, threads. The kernels are in cpu/layer_kernel.h.
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "cpu/dispatch.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;
using wavegen::LayerPlan;
using wavegen::LayerShape;

// The tensor as the kernels read it: of x's dtype, with these sizes, contiguous.
Tensor checked(const Tensor& tensor, const char* name, const Tensor& x, std::vector<int64_t> sizes) {
    wavegen::require(tensor, name, x.scalar_type(), " must have the dtype of x", sizes);
    return torch::stable::contiguous(tensor);
}

Optional checked(const Optional& tensor, const char* name, const Tensor& x, std::vector<int64_t> sizes) {
    if (!tensor.has_value()) return tensor;
    return checked(*tensor, name, x, std::move(sizes));
}

LayerShape shape_of(const Tensor& x, const Optional& conditioning, const Tensor& dilated_weight,
                    const Optional& conditioning_weight, const Tensor& output_weight, int64_t dilation, bool causal) {
    WAVEGEN_CHECK(x.dim() == 3 && x.numel() > 0, "x must be (batch, residual, length) and not empty");
    WAVEGEN_CHECK(dilated_weight.dim() == 3 && dilated_weight.size(0) > 0 && dilated_weight.size(0) % 2 == 0,
                  "dilated_weight must be (2 * gate, residual, width)");
    WAVEGEN_CHECK(output_weight.dim() == 2 && output_weight.size(0) >= x.size(1),
                  "output_weight must be (residual + skip, gate)");
    WAVEGEN_CHECK(conditioning.has_value() == conditioning_weight.has_value(),
                  "conditioning and conditioning_weight go together");
    WAVEGEN_CHECK(!conditioning.has_value() || (conditioning->dim() == 3 && conditioning->size(1) > 0),
                  "conditioning must be (batch, channels, length)");
    int64_t width = dilated_weight.size(2);
    WAVEGEN_CHECK(width >= 1 && width <= 3, "dilated_weight must have a width of 1, 2 or 3, not ", width);
    WAVEGEN_CHECK(causal || width % 2 == 1, "dilated_weight must have an odd width where the layer is not causal");
    WAVEGEN_CHECK(dilation >= 1 && dilation <= (int64_t(1) << 40), "dilation must be from 1 to 2^40");
    return {x.size(0),
            x.size(2),
            x.size(1),
            dilated_weight.size(0) / 2,
            output_weight.size(0) - x.size(1),
            conditioning.has_value() ? conditioning->size(1) : 0,
            width,
            dilation,
            causal};
}

template <typename T>
const T* read(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
const T* read(const Optional& tensor) {
    return tensor.has_value() ? read<T>(*tensor) : nullptr;
}
template <typename T>
T* written(const Tensor& tensor, bool wanted = true) {
    return wanted ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

// Memory for the length of a call. On huge pages where the system lends them: taking small ones anew at every call
// costs as much as a tenth of the work.
Tensor workspace_of(const Tensor& x, int64_t bytes) {
    Tensor workspace = torch::stable::new_empty(x, std::vector<int64_t>{bytes}, ScalarType::Byte);
#if defined(__linux__)
    constexpr uintptr_t kHuge = 2 << 20;
    uintptr_t start = reinterpret_cast<uintptr_t>(workspace.mutable_data_ptr()), end = start + uintptr_t(bytes);
    start = (start + kHuge - 1) & ~(kHuge - 1);
    end &= ~(kHuge - 1);
    if (start < end) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);  // a hint: it may fail
#endif
    return workspace;
}

// work(worker, first, last) until all of count is done, so much at a time, on as many threads as torch has. Workers
// take the next piece when they are free: what else runs on the machine delays one of them, not all.
template <typename Work>
void share(int64_t workers, int64_t count, int64_t piece, const Work& work) {
    std::atomic<int64_t> next{0};
    torch::stable::parallel_for(0, workers, 1, [&](int64_t first, int64_t last) {
        for (int64_t worker = first; worker < last; ++worker)
            for (int64_t from; (from = next.fetch_add(piece)) < count;)
                work(worker, from, std::min(from + piece, count));
    });
}

int64_t worker_count(int64_t tasks) {
    return std::max<int64_t>(1, std::min<int64_t>(tasks, torch::stable::get_num_threads()));
}

// Calls work(kernels, T()) for the type of x.
template <typename Work>
void by_type(const Tensor& x, const Work& work) {
    switch (x.scalar_type()) {
        case ScalarType::Float:
            return work(wavegen::kernels().layer_fp32, float());
        case ScalarType::BFloat16:
            return work(wavegen::kernels().layer_bf16, uint16_t());
        case ScalarType::Double:
            return work(wavegen::kernels().layer_fp64, double());
        default:
            WAVEGEN_CHECK(false, "x must be float32, bfloat16 or float64");
    }
}

std::tuple<Tensor, Tensor> gated_layer(Tensor x, Optional conditioning, Tensor dilated_weight, Optional dilated_bias,
                                       Optional conditioning_weight, Tensor output_weight, Optional output_bias,
                                       int64_t dilation, bool causal) {
    LayerShape s =
        shape_of(x, conditioning, dilated_weight, conditioning_weight, output_weight, dilation, causal);
    x = checked(x, "x", x, {s.batch, s.residual, s.length});
    conditioning = checked(conditioning, "conditioning", x, {s.batch, s.conditioning, s.length});
    dilated_weight = checked(dilated_weight, "dilated_weight", x, {2 * s.gate, s.residual, s.width});
    dilated_bias = checked(dilated_bias, "dilated_bias", x, {2 * s.gate});
    conditioning_weight = checked(conditioning_weight, "conditioning_weight", x, {2 * s.gate, s.conditioning});
    output_weight = checked(output_weight, "output_weight", x, {s.residual + s.skip, s.gate});
    output_bias = checked(output_bias, "output_bias", x, {s.residual + s.skip});

    Tensor residual = torch::stable::empty_like(x);
    Tensor skip = torch::stable::new_empty(x, std::vector<int64_t>{s.batch, s.skip, s.length});
    by_type(x, [&](const auto& kernels, auto zero) {
        using T = decltype(zero);
        LayerPlan plan = kernels.forward_plan(s);
        int64_t tiles = s.batch * plan.tiles, workers = worker_count(tiles);
        Tensor workspace = workspace_of(x, plan.weight_bytes + workers * plan.worker_bytes);
        wavegen::LayerForward<T> call = {s,
                                         plan,
                                         read<T>(x),
                                         read<T>(conditioning),
                                         read<T>(dilated_weight),
                                         read<T>(dilated_bias),
                                         read<T>(conditioning_weight),
                                         read<T>(output_weight),
                                         read<T>(output_bias),
                                         written<T>(residual),
                                         written<T>(skip),
                                         written<uint8_t>(workspace),
                                         workers};
        kernels.forward_prepare(call);
        share(workers, tiles, 4, [&](int64_t worker, int64_t first, int64_t last) {
            kernels.forward(call, worker, first, last);
        });
    });
    return {residual, skip};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gated_layer_backward(
    Tensor d_residual, Tensor d_skip, Tensor x, Optional conditioning, Tensor dilated_weight, Optional dilated_bias,
    Optional conditioning_weight, Tensor output_weight, int64_t dilation, bool causal) {
    LayerShape s =
        shape_of(x, conditioning, dilated_weight, conditioning_weight, output_weight, dilation, causal);
    x = checked(x, "x", x, {s.batch, s.residual, s.length});
    d_residual = checked(d_residual, "d_residual", x, {s.batch, s.residual, s.length});
    d_skip = checked(d_skip, "d_skip", x, {s.batch, s.skip, s.length});
    conditioning = checked(conditioning, "conditioning", x, {s.batch, s.conditioning, s.length});
    dilated_weight = checked(dilated_weight, "dilated_weight", x, {2 * s.gate, s.residual, s.width});
    dilated_bias = checked(dilated_bias, "dilated_bias", x, {2 * s.gate});
    conditioning_weight = checked(conditioning_weight, "conditioning_weight", x, {2 * s.gate, s.conditioning});
    output_weight = checked(output_weight, "output_weight", x, {s.residual + s.skip, s.gate});

    auto like = [&](std::vector<int64_t> sizes) { return torch::stable::new_empty(x, sizes); };
    bool conditioned = conditioning.has_value(), biased = dilated_bias.has_value();
    Tensor d_x = torch::stable::empty_like(x);
    Tensor d_conditioning = conditioned ? like({s.batch, s.conditioning, s.length}) : like({0});
    Tensor d_dilated_weight = like({2 * s.gate, s.residual, s.width});
    Tensor d_dilated_bias = biased ? like({2 * s.gate}) : like({0});
    Tensor d_conditioning_weight = conditioned ? like({2 * s.gate, s.conditioning}) : like({0});
    Tensor d_output_weight = like({s.residual + s.skip, s.gate});
    Tensor d_output_bias = like({s.residual + s.skip});
    by_type(x, [&](const auto& kernels, auto zero) {
        using T = decltype(zero);
        LayerPlan plan = kernels.backward_plan(s);
        int64_t workers = worker_count(plan.ranges);
        Tensor workspace = workspace_of(x, plan.weight_bytes + workers * plan.worker_bytes +
                                              plan.ranges * plan.range_bytes + plan.chunk_bytes);
        wavegen::LayerBackward<T> call = {s,
                                          plan,
                                          read<T>(d_residual),
                                          read<T>(d_skip),
                                          read<T>(x),
                                          read<T>(conditioning),
                                          read<T>(dilated_weight),
                                          read<T>(dilated_bias),
                                          read<T>(conditioning_weight),
                                          read<T>(output_weight),
                                          written<T>(d_x),
                                          written<T>(d_conditioning, conditioned),
                                          written<T>(d_dilated_weight),
                                          written<T>(d_dilated_bias, biased),
                                          written<T>(d_conditioning_weight, conditioned),
                                          written<T>(d_output_weight),
                                          written<T>(d_output_bias),
                                          written<uint8_t>(workspace),
                                          workers};
        kernels.backward_prepare(call);
        for (int64_t first = 0; first < s.batch; first += plan.chunk) {
            share(workers, plan.ranges, 1, [&](int64_t worker, int64_t begin, int64_t end) {
                kernels.backward_gates(call, worker, first, begin, end);
            });
            int64_t tiles = std::min(plan.chunk, s.batch - first) * plan.tiles;
            share(workers, tiles, 4, [&](int64_t worker, int64_t begin, int64_t end) {
                kernels.backward_inputs(call, worker, first, begin, end);
            });
        }
        int64_t rows = s.residual * s.width + s.conditioning + 1 + s.residual + s.skip;
        share(workers, rows, 16,
              [&](int64_t, int64_t begin, int64_t end) { kernels.backward_weights(call, begin, end); });
    });
    return {d_x,           d_conditioning, d_dilated_weight, d_dilated_bias, d_conditioning_weight, d_output_weight,
            d_output_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(wavegen, CPU, m) {
    m.impl("gated_layer", TORCH_BOX(&gated_layer));
    m.impl("gated_layer_backward", TORCH_BOX(&gated_layer_backward));
}
