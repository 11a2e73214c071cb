#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace wavegen {

// The table of each isa_*.cpp in this build.
namespace portable { extern const Kernels table; }
#if defined(__x86_64__)
namespace avx2 { extern const Kernels table; }
namespace avx512 { extern const Kernels table; }
namespace avx512_bf16 { extern const Kernels table; }
#endif

namespace {

struct Candidate {
    const Kernels* table;
    bool usable;
};

// From the most to the least capable.
const Candidate* candidates(int* count) {
    static const Candidate all[] = {
#if defined(__x86_64__)
        {&avx512_bf16::table, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                                  __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")},
        {&avx512::table, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")},
        {&avx2::table, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
        {&portable::table, true},
    };
    *count = sizeof all / sizeof all[0];
    return all;
}

const Kernels& choose() {
    int count;
    const Candidate* all = candidates(&count);
    const char* forced = std::getenv("WAVEGEN_CPU_ISA");
    if (forced != nullptr && *forced != '\0') {
        if (const Kernels* table = kernels_named(forced)) return *table;
        std::string usable;
        for (int i = 0; i < count; ++i)
            if (all[i].usable) usable += (usable.empty() ? "" : ", ") + std::string(all[i].table->name);
        throw std::runtime_error("WAVEGEN_CPU_ISA is " + std::string(forced) + ", but this processor offers " + usable);
    }
    for (int i = 0; i < count; ++i)
        if (all[i].usable) return *all[i].table;
    return portable::table;
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

const Kernels* kernels_named(const char* name) {
    int count;
    const Candidate* all = candidates(&count);
    for (int i = 0; i < count; ++i)
        if (all[i].usable && std::strcmp(all[i].table->name, name) == 0) return all[i].table;
    return nullptr;
}

const Kernels& kernels() {
    const Kernels* table = chosen.load();
    if (table == nullptr) chosen.store(table = &choose());
    return *table;
}

void use(const Kernels& table) { chosen.store(&table); }

}  // namespace wavegen
