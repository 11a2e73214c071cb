// The gated layer's kernels on the emulated device, as a C library.
#include "../../../csrc/cuda/layer.cu"

using namespace wavegen::cuda;

namespace {

// Tensors in device memory, guarded, copied back when the call is done.
class Memory {
  public:
    void* bring(void* host, int64_t bytes) {
        if (host == nullptr) return nullptr;
        arrays_.push_back({std::make_unique<emulation::Guarded>(size_t(bytes)), host, bytes});
        std::memcpy(arrays_.back().device->data(), host, size_t(bytes));
        return arrays_.back().device->data();
    }
    ~Memory() {
        for (Array& a : arrays_) std::memcpy(a.host, a.device->data(), size_t(a.bytes));
    }

  private:
    struct Array {
        std::unique_ptr<emulation::Guarded> device;
        void* host;
        int64_t bytes;
    };
    std::vector<Array> arrays_;
};

LayerShape shape_of(const int64_t* n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8] != 0}; }

}  // namespace

extern "C" {

void machine(int64_t shared_limit, uint64_t seed) { emulation::machine() = {size_t(shared_limit), 0, seed}; }

// tensors: x, conditioning, dilated weight and bias, conditioning weight, output weight and bias, residual, skip.
int64_t forward_of(const int64_t* numbers, int element, void** tensors, const int64_t* bytes) {
    const LayerShape s = shape_of(numbers);
    const size_t workspace = forward_workspace(s, Element(element));
    emulation::Guarded space(workspace);
    Memory memory;
    void* t[9];
    for (int i = 0; i < 9; ++i) t[i] = memory.bring(tensors[i], bytes[i]);
    LayerForward call = {s, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], space.data()};
    return launch_forward(call, Element(element), nullptr) == 0 ? int64_t(workspace) : -1;
}

// tensors: d_residual, d_skip, x, conditioning, dilated weight and bias, conditioning weight, output weight, then the
// gradients of x, conditioning, dilated weight and bias, conditioning weight, output weight and bias.
int64_t backward_of(const int64_t* numbers, int element, void** tensors, const int64_t* bytes) {
    const LayerShape s = shape_of(numbers);
    const size_t workspace = backward_workspace(s, Element(element));
    emulation::Guarded space(workspace);
    Memory memory;
    void* t[15];
    for (int i = 0; i < 15; ++i) t[i] = memory.bring(tensors[i], bytes[i]);
    LayerBackward call = {s,    t[0], t[1], t[2], t[3],  t[4],  t[5],  t[6],  t[7],
                          t[8], t[9], t[10], t[11], t[12], t[13], t[14], space.data()};
    return launch_backward(call, Element(element), nullptr) == 0 ? int64_t(workspace) : -1;
}
}
