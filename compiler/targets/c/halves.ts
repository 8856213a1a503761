// f16 as bits and as values, rounded to nearest, ties to even, subnormals and all. Where the processor converts by itself
// (F16C, every one since AVX2) eight and W at a time are its instructions; elsewhere, and one at a time, integer arithmetic
// of the same results. A NaN is the same one either way (all 2³² floats and all 2¹⁶ halves were compared).
import { generic, scalar } from "./generic.js";

const software = `
INLINE I f16_bits$(F x) {
  I b = as_i$(x), a = b & 0x7fffffff, s = (I)((U)(b - a) >> 16);
  I normal = (a + 0xfff + ((a >> 13) & 1) - 0x38000000) >> 13;
  I tiny = as_i$(as_f$(a) + 0.5f) - 0x3f000000;
  I r = seli$(ilt$(a, KI$(0x38800000)), tiny, normal);
  r = seli$(ige$(a, KI$(0x477ff000)), KI$(0x7c00), r);
  return s | seli$(eq$(x, x), r, KI$(0x7e00));
}
INLINE F f16_value$(I h) {
  I a = h & 0x7fff;
  I b = as_i$(as_f$(a << 13) * 0x1p112f);
  b = seli$(ige$(a, KI$(0x7c00)), (a << 13) | seli$(igt$(a, KI$(0x7c00)), KI$(0x7fc00000), KI$(0x7f800000)), b);
  return as_f$(b | ((h & 0x8000) << 16));
}
`;
const hardware = `
typedef int16_t ia32_h8 __attribute__((vector_size(16)));
INLINE i32x8 f16_bits8(f32x8 x) {
  i32x8 h = __builtin_convertvector((u16x8)__builtin_ia32_vcvtps2ph256((ia32_f)x, 0), i32x8);
  return seli8(eq8(x, x), h, (h & 0x8000) | 0x7e00);
}
INLINE f32x8 f16_value8(i32x8 h) { return __builtin_ia32_vcvtph2ps256((ia32_h8)__builtin_convertvector(h, u16x8)); }
#ifdef WIDE
typedef int16_t ia32_hW __attribute__((vector_size(32)));
typedef uint16_t u16xW __attribute__((vector_size(32)));
INLINE i32xW f16_bitsW(f32xW x) {
  i32xW h = __builtin_convertvector((u16xW)__builtin_ia32_vcvtps2ph512_mask(x, 0, (ia32_hW){}, -1), i32xW);
  return seliW(eqW(x, x), h, (h & 0x8000) | 0x7e00);
}
INLINE f32xW f16_valueW(i32xW h) { return __builtin_ia32_vcvtph2ps512_mask((ia32_hW)__builtin_convertvector(h, u16xW), (f32xW){}, -1, 4); }
#else
#define f16_bitsW f16_bits8
#define f16_valueW f16_value8
#endif
`;

export const halves = `#if defined(__F16C__) && !defined(__clang__)
${scalar(software)}${hardware}#else
${generic(software)}#endif
`;
