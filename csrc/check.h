// Refusing an argument: the message reaches Python as a RuntimeError whose text is exactly this.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <sstream>
#include <stdexcept>
#include <vector>

namespace wavegen {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw std::runtime_error(text.str());
}

}  // namespace wavegen

#define WAVEGEN_CHECK(holds, ...)                     \
    do {                                              \
        if (!(holds)) ::wavegen::refuse(__VA_ARGS__); \
    } while (false)

namespace wavegen {

// Refuses a tensor that is not on the CPU, of a type (`wanted` says which: " must be float32") and of these sizes.
inline void require(const torch::stable::Tensor& t, const char* name, torch::headeronly::ScalarType type,
                    const char* wanted, const std::vector<int64_t>& sizes) {
    WAVEGEN_CHECK(t.is_cpu(), name, " must be on the CPU");
    WAVEGEN_CHECK(t.scalar_type() == type, name, wanted);
    WAVEGEN_CHECK(t.dim() == int64_t(sizes.size()), name, " must have ", sizes.size(), " dimensions, not ", t.dim());
    for (int64_t i = 0; i < t.dim(); ++i)
        WAVEGEN_CHECK(t.size(i) == sizes[i], name, " must have size ", sizes[i], " in dimension ", i, ", not ", t.size(i));
}

}  // namespace wavegen
