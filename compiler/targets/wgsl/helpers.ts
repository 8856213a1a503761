// The functions that a shader may call: mathematics (math.ts), elements that lie several to a word, random draws, and a
// NaN, which no constant may be. Only what a kernel calls is printed with it, callees first.
import { PARITY, ROTATIONS, ROUNDS } from "../../../dsl/random.js";
import { functions, type MathName } from "./math.js";

export type HelperName =
  | MathName
  | "m_nan"
  | "m_mod"
  | "m_bf16_bits"
  | "m_bf16_at"
  | "m_f16_bits"
  | "m_f16_value"
  | "m_f16_at"
  | "m_bool_at"
  | "m_threefry"
  | "m_uniform"
  | "m_normal";
interface Helper {
  readonly calls: readonly HelperName[];
  readonly source: string;
}

/** Threefry-2x32 (dsl/random.ts), its rounds written out. */
const threefry = (): string => {
  const lines = [
    `  let k2: u32 = 0x${PARITY.toString(16)}u ^ key.x ^ key.y;`,
    "  let k: array<u32, 3> = array<u32, 3>(key.x, key.y, k2);",
    "  var a: u32 = counter.x + key.x;",
    "  var b: u32 = counter.y + key.y;",
  ];
  for (let round = 0; round < ROUNDS; round++) {
    const r = ROTATIONS[round % 8] as number;
    lines.push(`  a = a + b; b = ((b << ${r}u) | (b >> ${32 - r}u)) ^ a;`);
    if (round % 4 !== 3) continue;
    const n = (round + 1) / 4;
    lines.push(`  a = a + k[${n % 3}]; b = b + k[${(n + 1) % 3}] + ${n}u;`);
  }
  return `fn m_threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {\n${lines.join("\n")}\n  return vec2<u32>(a, b);\n}`;
};

const own: { readonly [N in Exclude<HelperName, MathName>]: Helper } = {
  m_nan: {
    calls: [],
    source: "fn m_nan() -> f32 {\n  var bits: u32 = 0x7fc00000u;\n  return bitcast<f32>(bits);\n}",
  },
  // Truncated, as JavaScript's, and exact: by subtractions alone, since fma need not be one operation.
  m_mod: {
    calls: ["m_is_nan"],
    source: `fn m_mod(x: f32, y: f32) -> f32 {
  let b: f32 = abs(y);
  var r: f32 = abs(x);
  if (m_is_nan(x) | m_is_nan(y) | (b == 0.0) | (r > 3.4e38)) {
    return bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u);
  }
  if (r < b) {
    return x;
  }
  var t: f32 = b;
  for (var i: i32 = 0; (i < 300) & (t <= r * 0.5); i += 1) {
    t = t + t;
  }
  for (var j: i32 = 0; (j < 300) & (t >= b); j += 1) {
    r = select(r, r - t, r >= t);
    t = t * 0.5;
  }
  return select(r, -r, x < 0.0);
}`,
  },
  m_bf16_bits: {
    calls: [],
    source: `fn m_bf16_bits(x: f32) -> u32 {
  let b: u32 = bitcast<u32>(x);
  let r: u32 = (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
  return select(r, (b >> 16u) | 0x40u, (b & 0x7fffffffu) > 0x7f800000u);
}`,
  },
  m_bf16_at: {
    calls: [],
    source: "fn m_bf16_at(word: u32, at: i32) -> f32 {\n  return bitcast<f32>((word << (16u - (u32(at) & 1u) * 16u)) & 0xffff0000u);\n}",
  },
  // Of normal numbers the exponent's bias is exchanged; what is smaller is a multiple of 2^-24.
  m_f16_bits: {
    calls: [],
    source: `fn m_f16_bits(x: f32) -> u32 {
  let b: u32 = bitcast<u32>(x);
  let a: u32 = b & 0x7fffffffu;
  let normal: u32 = (a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u;
  let tiny: u32 = bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u;
  var r: u32 = select(normal, tiny, a < 0x38800000u);
  r = select(r, 0x7c00u, a >= 0x477ff000u);
  r = select(r, 0x7e00u, a > 0x7f800000u);
  return r | ((b >> 16u) & 0x8000u);
}`,
  },
  m_f16_value: {
    calls: [],
    source: `fn m_f16_value(h: u32) -> f32 {
  let a: u32 = h & 0x7fffu;
  let tiny: u32 = bitcast<u32>(f32(a) * 5.9604644775390625e-8);
  var r: u32 = select((a << 13u) + 0x38000000u, tiny, a < 0x400u);
  r = select(r, (a << 13u) | 0x7f800000u, a >= 0x7c00u);
  return bitcast<f32>(r | ((h & 0x8000u) << 16u));
}`,
  },
  m_f16_at: {
    calls: ["m_f16_value"],
    source: "fn m_f16_at(word: u32, at: i32) -> f32 {\n  return m_f16_value((word >> ((u32(at) & 1u) * 16u)) & 0xffffu);\n}",
  },
  m_bool_at: {
    calls: [],
    source: "fn m_bool_at(word: u32, at: i32) -> bool {\n  return ((word >> ((u32(at) & 3u) * 8u)) & 0xffu) != 0u;\n}",
  },
  m_threefry: { calls: [], source: threefry() },
  m_uniform: {
    calls: ["m_threefry"],
    source: `fn m_uniform(key: vec2<u32>, counter: i32) -> f32 {
  let x: vec2<u32> = m_threefry(key, vec2<u32>(u32(counter), u32(counter >> 31u)));
  return f32(x.x >> 8u) * 5.9604644775390625e-8;
}`,
  },
  m_normal: {
    calls: ["m_threefry", "m_log", "m_cos"],
    source: `fn m_normal(key: vec2<u32>, counter: i32) -> f32 {
  let x: vec2<u32> = m_threefry(key, vec2<u32>(u32(counter), u32(counter >> 31u)));
  let u: f32 = f32((x.x >> 8u) + 1u) * 5.9604644775390625e-8;
  let v: f32 = f32(x.y >> 8u) * 5.9604644775390625e-8;
  return sqrt(max(-2.0 * m_log(u), 0.0)) * m_cos(6.2831853072 * v);
}`,
  },
};
export const helpers: { readonly [N in HelperName]: Helper } = { ...functions, ...own };

/** These functions and what they call, callees first, each once. */
export function withCallees(names: Iterable<HelperName>): readonly string[] {
  const out = new Set<string>();
  const add = (name: HelperName) => {
    for (const c of helpers[name].calls) add(c);
    out.add(helpers[name].source);
  };
  for (const n of names) add(n);
  return [...out];
}
