// f16 and bf16 as the bits of numbers that are computed with in f32: rounded to nearest, ties to
// even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

inline float f16_to_float(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size;
    if (exponent == 31)
        size = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        size = std::ldexp((float)fraction, -24);
    else
        size = std::ldexp((float)(fraction + 1024), exponent - 25);
    return bits & 0x8000 ? -size : size;
}

inline uint16_t float_to_f16(float x) {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const double size = std::fabs((double)x);
    if (size != size) return sign | 0x7e00;
    if (size >= 65520.0) return sign | 0x7c00;
    if (size == 0.0) return sign;
    int exponent;
    std::frexp(size, &exponent);
    // In units of the last place; a subnormal number's is that of the smallest normal one.
    const int unit = exponent - 1 < -14 ? -24 : exponent - 11;
    const int fraction = (int)std::nearbyint(std::ldexp(size, -unit));
    // A fraction of 2048 carries into the exponent by itself.
    const int biased = unit == -24 ? 0 : unit + 24;
    return sign | (uint16_t)((biased << 10) + fraction);
}

inline float bf16_to_float(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return x;
}

inline uint16_t float_to_bf16(float x) {
    uint32_t wide;
    std::memcpy(&wide, &x, 4);
    if (x != x) return (uint16_t)(wide >> 16 | 0x40);
    return (uint16_t)((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
}
