// The gated dilated layer on CUDA: checks, memory, launches. The kernels are in cuda/layer.cu.
#include <tuple>

#include "cuda/binding.h"
#include "cuda/layer.h"

namespace wavegen::cuda {
namespace {

Element element_of(const Tensor& x) {
    switch (x.scalar_type()) {
        case ScalarType::Float:
            return Element::kFp32;
        case ScalarType::BFloat16:
            return Element::kBf16;
        case ScalarType::Double:
            return Element::kFp64;
        default:
            STD_TORCH_CHECK(false, "x must be float32, bfloat16 or float64");
    }
}

LayerShape shape_of(const Tensor& x, const Optional& conditioning, const Tensor& dilated_weight,
                    const Optional& conditioning_weight, const Tensor& output_weight, int64_t dilation, bool causal) {
    STD_TORCH_CHECK(x.is_cuda(), "x must be on a CUDA device");
    STD_TORCH_CHECK(x.dim() == 3 && x.numel() > 0, "x must be (batch, residual, length) and not empty");
    STD_TORCH_CHECK(dilated_weight.dim() == 3 && dilated_weight.size(0) > 0 && dilated_weight.size(0) % 2 == 0,
                    "dilated_weight must be (2 * gate, residual, width)");
    STD_TORCH_CHECK(output_weight.dim() == 2 && output_weight.size(0) >= x.size(1),
                    "output_weight must be (residual + skip, gate)");
    STD_TORCH_CHECK(conditioning.has_value() == conditioning_weight.has_value(),
                    "conditioning and conditioning_weight go together");
    STD_TORCH_CHECK(!conditioning.has_value() || (conditioning->dim() == 3 && conditioning->size(1) > 0),
                    "conditioning must be (batch, channels, length)");
    const int64_t width = dilated_weight.size(2);
    STD_TORCH_CHECK(width >= 1 && width <= 3, "dilated_weight must have a width of 1, 2 or 3, not ", width);
    STD_TORCH_CHECK(causal || width % 2 == 1, "dilated_weight must have an odd width where the layer is not causal");
    STD_TORCH_CHECK(dilation >= 1 && dilation <= (int64_t(1) << 40), "dilation must be from 1 to 2^40");
    const int64_t channels = conditioning.has_value() ? conditioning->size(1) : 0;
    const LayerShape s = {x.size(0), x.size(2), x.size(1), dilated_weight.size(0) / 2,
                          output_weight.size(0) - x.size(1), channels, width, dilation, causal};
    STD_TORCH_CHECK(s.gate <= int64_t(1) << 20 && s.residual + s.skip <= int64_t(1) << 20,
                    "output_weight has more channels than 2^20");
    STD_TORCH_CHECK(s.batch * ((s.length + 63) / 64) < int64_t(1) << 31, "x is longer than one launch takes");
    return s;
}

// The layer's arguments as kernels read them.
struct Arguments {
    Tensor x, dilated_weight, output_weight;
    Optional conditioning, dilated_bias, conditioning_weight, output_bias;
};

Arguments check_all(const LayerShape& s, const Tensor& x, const Optional& conditioning, const Tensor& dilated_weight,
                    const Optional& dilated_bias, const Optional& conditioning_weight, const Tensor& output_weight,
                    const Optional& output_bias) {
    const ScalarType type = x.scalar_type();
    return {checked(x, "x", x, type, {s.batch, s.residual, s.length}),
            checked(dilated_weight, "dilated_weight", x, type, {2 * s.gate, s.residual, s.width}),
            checked(output_weight, "output_weight", x, type, {s.residual + s.skip, s.gate}),
            checked(conditioning, "conditioning", x, type, {s.batch, s.conditioning, s.length}),
            checked(dilated_bias, "dilated_bias", x, type, {2 * s.gate}),
            checked(conditioning_weight, "conditioning_weight", x, type, {2 * s.gate, s.conditioning}),
            checked(output_bias, "output_bias", x, type, {s.residual + s.skip})};
}

const void* read(const Optional& t) { return t.has_value() ? t->const_data_ptr() : nullptr; }

Tensor bytes(const Tensor& x, size_t count) {
    return torch::stable::new_empty(x, std::vector<int64_t>{int64_t(count)}, ScalarType::Byte);
}

std::tuple<Tensor, Tensor> gated_layer(Tensor x, Optional conditioning, Tensor dilated_weight, Optional dilated_bias,
                                       Optional conditioning_weight, Tensor output_weight, Optional output_bias,
                                       int64_t dilation, bool causal) {
    const LayerShape s =
        shape_of(x, conditioning, dilated_weight, conditioning_weight, output_weight, dilation, causal);
    const Element element = element_of(x);
    const Arguments a = check_all(s, x, conditioning, dilated_weight, dilated_bias, conditioning_weight, output_weight,
                                  output_bias);
    const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
    Tensor residual = torch::stable::new_empty(a.x, std::vector<int64_t>{s.batch, s.residual, s.length});
    Tensor skip = torch::stable::new_empty(a.x, std::vector<int64_t>{s.batch, s.skip, s.length});
    Tensor workspace = bytes(a.x, forward_workspace(s, element));
    const LayerForward call = {s,
                               a.x.const_data_ptr(),
                               read(a.conditioning),
                               a.dilated_weight.const_data_ptr(),
                               read(a.dilated_bias),
                               read(a.conditioning_weight),
                               a.output_weight.const_data_ptr(),
                               read(a.output_bias),
                               residual.mutable_data_ptr(),
                               skip.mutable_data_ptr(),
                               workspace.mutable_data_ptr()};
    check_cuda(launch_forward(call, element, current_stream(x)), "gated_layer");
    return {residual, skip};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gated_layer_backward(
    Tensor d_residual, Tensor d_skip, Tensor x, Optional conditioning, Tensor dilated_weight, Optional dilated_bias,
    Optional conditioning_weight, Tensor output_weight, int64_t dilation, bool causal) {
    const LayerShape s =
        shape_of(x, conditioning, dilated_weight, conditioning_weight, output_weight, dilation, causal);
    const Element element = element_of(x);
    const Arguments a = check_all(s, x, conditioning, dilated_weight, dilated_bias, conditioning_weight, output_weight,
                                  std::nullopt);
    d_residual = checked(d_residual, "d_residual", x, x.scalar_type(), {s.batch, s.residual, s.length});
    d_skip = checked(d_skip, "d_skip", x, x.scalar_type(), {s.batch, s.skip, s.length});
    const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
    const bool conditioned = a.conditioning.has_value(), biased = a.dilated_bias.has_value();
    const auto like = [&](std::vector<int64_t> sizes, bool wanted = true) {
        return torch::stable::new_empty(a.x, wanted ? sizes : std::vector<int64_t>{0});
    };
    Tensor d_x = like({s.batch, s.residual, s.length});
    Tensor d_conditioning = like({s.batch, s.conditioning, s.length}, conditioned);
    Tensor d_dilated_weight = like({2 * s.gate, s.residual, s.width});
    Tensor d_dilated_bias = like({2 * s.gate}, biased);
    Tensor d_conditioning_weight = like({2 * s.gate, s.conditioning}, conditioned);
    Tensor d_output_weight = like({s.residual + s.skip, s.gate});
    Tensor d_output_bias = like({s.residual + s.skip});
    Tensor workspace = bytes(a.x, backward_workspace(s, element));
    const LayerBackward call = {s,
                                d_residual.const_data_ptr(),
                                d_skip.const_data_ptr(),
                                a.x.const_data_ptr(),
                                read(a.conditioning),
                                a.dilated_weight.const_data_ptr(),
                                read(a.dilated_bias),
                                read(a.conditioning_weight),
                                a.output_weight.const_data_ptr(),
                                d_x.mutable_data_ptr(),
                                conditioned ? d_conditioning.mutable_data_ptr() : nullptr,
                                d_dilated_weight.mutable_data_ptr(),
                                biased ? d_dilated_bias.mutable_data_ptr() : nullptr,
                                conditioned ? d_conditioning_weight.mutable_data_ptr() : nullptr,
                                d_output_weight.mutable_data_ptr(),
                                d_output_bias.mutable_data_ptr(),
                                workspace.mutable_data_ptr()};
    check_cuda(launch_backward(call, element, current_stream(x)), "gated_layer_backward");
    return {d_x,           d_conditioning, d_dilated_weight, d_dilated_bias, d_conditioning_weight, d_output_weight,
            d_output_bias};
}

}  // namespace
}  // namespace wavegen::cuda

STABLE_TORCH_LIBRARY_IMPL(wavegen, CUDA, m) {
    m.impl("gated_layer", TORCH_BOX(&wavegen::cuda::gated_layer));
    m.impl("gated_layer_backward", TORCH_BOX(&wavegen::cuda::gated_layer_backward));
}
