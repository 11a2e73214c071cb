// Refusing an argument: the message reaches Python as a RuntimeError whose text is exactly this.
#pragma once

#include <sstream>
#include <stdexcept>

namespace wavegen {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw std::runtime_error(text.str());
}

}  // namespace wavegen

#define WAVEGEN_CHECK(holds, ...)                   \
    do {                                            \
        if (!(holds)) ::wavegen::refuse(__VA_ARGS__); \
    } while (false)
