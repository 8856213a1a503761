// Kernels in GLSL, for `webgl2`. gpu.js's own translation of JavaScript to shaders is too weak to train with (bits by loops
// over floats that fail for negative numbers, ±3.4e38 for infinity, functions of the driver's accuracy), so it is given one
// native function that is the whole kernel, and calls it: what is left to it are textures, draws and reading back.
//
// Arrays are textures of one f32 a texel (texture.ts). An int is an int, a bool the int 0 or 1.
import type { Type } from "../../../lower/expr.js";
import type { Dialect } from "../dialect.js";
import { drawn, isNumber } from "./bits.js";
import { type GlslName, withCallees } from "./math.js";
import { spelling } from "./spelling.js";
import { shiftOf } from "./texture.js";

const KERNEL = "mallard";
const typeName: Readonly<Record<Type, string>> = { real: "float", int: "int", bool: "int" };
/** A finite f32 in decimal, else its bits: GLSL has no word for infinity, and compilers may take a subnormal for 0. */
export function literal(value: number): string {
  const v = Math.fround(value);
  if (Number.isFinite(v) && (v === 0 || Math.abs(v) >= 2 ** -126)) {
    const text = Object.is(v, -0) ? "-0" : String(v);
    return /[.e]/.test(text) ? text : `${text}.0`;
  }
  return `uintBitsToFloat(0x${new Uint32Array(Float32Array.of(v).buffer)[0]?.toString(16)}u)`;
}

export const glsl: Dialect = {
  spelling,
  cell: "cell",
  bind: (type, name, text) => (type === "bool" ? `int ${name} = (${text}) ? 1 : 0;` : `${typeName[type]} ${name} = ${text};`),
  copy: (type, name, text) => (type === "bool" ? `int ${name} = int(${text});` : `${typeName[type]} ${name} = ${text};`),
  constant: (type, name, value) => (type === "real" ? `float ${name} = ${literal(value)};` : `int ${name} = ${value};`),
  turns: (k, bound) => `for (int ${k} = 0; ${k} < ${bound}; ${k}++)`,
  quotient: (a, b) => `${a} / ${b}`,
  toReal: (_, text) => ({ text: `float(${text})`, named: false }),
  toInt: (text) => `int(${text})`,
  isNumber,
  zero: "0.0",
  read: (array, address) => `m_read(${array}, ${array}Shift, ${address})`,
  drawn,
  kernel: (args, lines, used, cells) => {
    const names = args.map((a) => a.name);
    const declared = args.map((a) => (a.length === null ? `int ${a.name}` : `sampler2D ${a.name}, ivec2 ${a.name}Size, ivec3 ${a.name}Axes`));
    const shifts = args.flatMap((a) => (a.length === null ? [] : [`  const int ${a.name}Shift = ${shiftOf(a.length)};`]));
    const body = lines.join("\n").replaceAll("!==", "!=").replaceAll("===", "=="); // JavaScript's have a sign more
    const needed = new Set([...used, ...(shifts.length > 0 ? ["m_read"] : [])]) as ReadonlySet<GlslName>; // the spellings name those alone
    const head = [...shifts, `  int cell = (y << ${shiftOf(cells)}) + x;`].join("\n");
    const source = [...withCallees(needed), `float ${KERNEL}(${[...declared, "int x, int y"].join(", ")}) {\n${head}\n${body}\n}`].join("\n");
    return {
      source: `function kernel(${names.join(", ")}) {\n  return ${KERNEL}(${[...names, "this.thread.x", "this.thread.y"].join(", ")});\n}`,
      functions: [],
      native: { name: KERNEL, source },
    };
  },
};
