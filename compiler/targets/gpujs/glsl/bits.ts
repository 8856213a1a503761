// What GLSL does with the bits of words: random draws (dsl/random.ts) on u32, exact, and the test for NaN, which compilers of
// shaders may assume never to be.
import { labelWords } from "../../../../dsl/random.js";
import type { Parts } from "../spelling.js";
import type { GlslName } from "./math.js";

export const isNumber = (x: string): string => `(floatBitsToUint(${x}) & 0x7fffffffu) <= 0x7f800000u`;

/** The name of a draw's value. `extend` and `counter` are names of ints. */
export function drawn(p: Parts, kind: "uniform" | "normal", key: string, extend: readonly string[], counter: string): string {
  const call = (name: GlslName) => p.helper(name);
  const [k0, k1] = labelWords(key);
  let words = p.name("w");
  p.line(`uvec2 ${words} = uvec2(${k0}u, ${k1}u);`);
  for (const [position, e] of extend.entries()) {
    const next = p.name("w");
    p.line(`uvec2 ${next} = ${call("m_threefry")}(${words}, uvec2(uint(${e}), ${position}u));`);
    words = next;
  }
  const bits = p.name("w");
  p.line(`uvec2 ${bits} = ${call("m_threefry")}(${words}, uvec2(uint(${counter}), uint(${counter} >> 31)));`);
  return p.real(`${call(kind === "uniform" ? "m_uniform" : "m_normal")}(${bits})`);
}
