#define WAVEGEN_ISA avx2
#define WAVEGEN_ISA_NAME "avx2"
#include "isa_table.h"
