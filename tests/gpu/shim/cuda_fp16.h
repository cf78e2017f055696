// f16 for cuda_on_cpu.h.
#pragma once

#include "cuda_on_cpu.h"
#include "halves.h"

struct __half {
    uint16_t bits;
};
inline float __half2float(__half x) { return f16_to_float(x.bits); }
inline __half __float2half_rn(float x) { return {float_to_f16(x)}; }
