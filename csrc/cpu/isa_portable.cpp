#define WAVEGEN_ISA portable
#define WAVEGEN_ISA_NAME "portable"
#include "isa_table.h"
