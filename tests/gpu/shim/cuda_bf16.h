// bf16 for cuda_on_cpu.h.
#pragma once

#include "cuda_on_cpu.h"
#include "halves.h"

struct __nv_bfloat16 {
    uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 x) { return bf16_to_float(x.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {float_to_bf16(x)}; }
