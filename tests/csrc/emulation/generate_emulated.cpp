// The generation kernel on the emulated device, as a C library.
#include "../../../csrc/cuda/generate.cu"

using namespace wavegen::cuda;

namespace {

// Device memory: a guarded copy of the caller's array, copied back at the end.
class Array {
  public:
    Array(const void* from, int64_t bytes) : memory_(size_t(bytes) + 16), bytes_(bytes), from_(from) {
        if (from != nullptr) std::memcpy(memory_.data() + 16, from, size_t(bytes));
    }
    template <typename T>
    T* as() {
        return from_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_.data() + 16);
    }
    void back() {
        if (from_ != nullptr) std::memcpy(const_cast<void*>(from_), memory_.data() + 16, size_t(bytes_));
    }

  private:
    emulation::Guarded memory_;
    int64_t bytes_;
    const void* from_;
};

}  // namespace

extern "C" {

void machine(int64_t shared_limit, int concurrent_clusters, uint64_t seed) {
    emulation::machine() = {size_t(shared_limit), concurrent_clusters, seed};
}

void limits(int64_t* out) {
    const int64_t all[] = {kMaxGated, kMaxSummed, kMaxLayers, kMaxHop, kMaxDilation};
    std::memcpy(out, all, sizeof all);
}

int64_t weights_bytes(const uint8_t* weights) {
    return lay_out(reinterpret_cast<const WeightsHeader*>(weights)->sizes).total;
}

int64_t bytes_of_state(const uint8_t* weights, int64_t streams) {
    return state_bytes(reinterpret_cast<const WeightsHeader*>(weights)->sizes, streams);
}

// out: cluster, tiles, columns, group, clusters, shared bytes, then the first unit of each block.
const char* plan(const uint8_t* weights, int64_t streams, int variant, int64_t* out) {
    Plan p;
    const char* why = plan_generate(reinterpret_cast<const WeightsHeader*>(weights)->sizes, streams, variant, &p);
    if (why != nullptr) return why;
    int64_t head[] = {p.cluster, p.tiles, p.columns, p.group, p.clusters, int64_t(p.shared_bytes)};
    std::memcpy(out, head, sizeof head);
    for (int b = 0; b <= kMaxCluster; ++b) out[6 + b] = p.first_unit[b];
    return nullptr;
}

const char* generate(const uint8_t* weights, uint8_t* state, const float* conditioning, const float* uniforms,
                     const int64_t* lengths, const float* forced, float* values, float* parameters, int64_t streams,
                     int64_t samples, int64_t frames, float temperature, int top_k, float top_p, int variant) {
    const WeightsHeader header = *reinterpret_cast<const WeightsHeader*>(weights);
    const Sizes& s = header.sizes;
    const int64_t u = s.output == Output::kLogistics ? 2 : 1, all = streams * samples;
    Array w(weights, header.bytes), st(state, state_bytes(s, streams)),
        c(conditioning, streams * frames * s.layers * 2 * s.gate * 4), un(uniforms, all * u * 4),
        le(lengths, streams * 8), fo(forced, all * 4), va(values, all * 4), pa(parameters, all * s.outputs * 4);
    Plan plan;
    if (const char* why = plan_generate(s, streams, variant, &plan)) return why;
    GenerateCall call = {s, w.as<uint8_t>(), st.as<uint8_t>(), reinterpret_cast<StateHeader*>(state)->time,
                         c.as<float>(), un.as<float>(), le.as<int64_t>(), fo.as<float>(), va.as<float>(),
                         pa.as<float>(), streams, samples, frames, temperature, top_p, top_k};
    if (launch_generate(call, plan, nullptr) != 0) return "the launch failed";
    st.back(), va.back(), pa.back();
    return nullptr;
}

int check_of(const float* values, int64_t count, float low, float high, bool whole) {
    int32_t found = 0;
    launch_check({values, count, low, high, whole, &found}, nullptr);
    return found;
}

float ndtri_of(float p) { return ndtri(p); }
}
