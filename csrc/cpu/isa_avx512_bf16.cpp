#define WAVEGEN_ISA avx512_bf16
#define WAVEGEN_ISA_NAME "avx512_bf16"
#include "isa_table.h"
