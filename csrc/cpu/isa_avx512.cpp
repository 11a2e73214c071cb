#define WAVEGEN_ISA avx512
#define WAVEGEN_ISA_NAME "avx512"
#include "isa_table.h"
