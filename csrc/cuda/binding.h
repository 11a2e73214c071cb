// What the bindings of the CUDA ops share: checks that name the argument, the device's stream, errors of launches.
#pragma once

#ifndef USE_CUDA
#define USE_CUDA  // the shim declares the current CUDA stream only then
#endif

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>
#include <vector>

namespace wavegen::cuda {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

// A contiguous tensor of this type and these sizes, on the device of `beside`.
inline Tensor checked(const Tensor& t, const char* name, const Tensor& beside, ScalarType type,
                      const std::vector<int64_t>& sizes) {
    STD_TORCH_CHECK(t.is_cuda() && t.get_device_index() == beside.get_device_index(), name,
                    " must be on the same CUDA device as the first argument");
    STD_TORCH_CHECK(t.scalar_type() == type, name, " has the wrong dtype");
    STD_TORCH_CHECK(t.dim() == int64_t(sizes.size()), name, " must have ", sizes.size(), " dimensions, not ", t.dim());
    for (int64_t i = 0; i < t.dim(); ++i)
        STD_TORCH_CHECK(t.size(i) == sizes[i], name, " must have size ", sizes[i], " in dimension ", i, ", not ",
                        t.size(i));
    return torch::stable::contiguous(t);
}

inline Optional checked(const Optional& t, const char* name, const Tensor& beside, ScalarType type,
                        const std::vector<int64_t>& sizes) {
    if (!t.has_value()) return t;
    return checked(*t, name, beside, type, sizes);
}

inline cudaStream_t current_stream(const Tensor& t) {
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
    return static_cast<cudaStream_t>(stream);
}

inline void check_cuda(int error, const char* what) {
    STD_TORCH_CHECK(error == 0, what, ": ", cudaGetErrorString(cudaError_t(error)));
}

}  // namespace wavegen::cuda
