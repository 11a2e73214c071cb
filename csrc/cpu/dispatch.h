// Which instruction set's kernels to call.
//
// Every kernel is compiled once per instruction set (isa_*.cpp); here is the table of its entry points and the choice,
// made once at the first call from what the processor offers, or forced by the environment variable WAVEGEN_CPU_ISA.
#pragma once

#include "generate.h"
#include "layer.h"

namespace wavegen {

struct Kernels {
    const char* name;
    Outcome (*generate)(const GenerateCall&, int64_t first_stream, int64_t last_stream);
    LayerKernels<float> layer_fp32;
    LayerKernels<uint16_t> layer_bf16;
    LayerKernels<double> layer_fp64;
    double (*stream_bytes)(const uint8_t* bytes, int64_t count);  // reads them all: the roofline's memory side
    double (*multiply_add)(int format, int64_t rounds);           // the roofline's other side: MACs done in registers
};

// Null if this build or this processor lacks the set.
const Kernels* kernels_named(const char* name);

// The chosen set. Throws std::runtime_error if WAVEGEN_CPU_ISA names one that is unknown or that the processor lacks.
const Kernels& kernels();

// Use another set from now on, in all threads.
void use(const Kernels& table);

}  // namespace wavegen
