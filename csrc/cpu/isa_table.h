// What every isa_*.cpp consists of: the kernels, compiled for its instruction set, and their table.
#include "dispatch.h"
#include "generate_kernel.h"
#include "layer_kernel.h"
#include "roofline_kernel.h"

namespace wavegen::WAVEGEN_ISA {

extern const Kernels table;
const Kernels table = {WAVEGEN_ISA_NAME, generate, layer_fp32, layer_bf16, layer_fp64, stream_bytes, multiply_add};

}  // namespace wavegen::WAVEGEN_ISA
