// The two languages that kernels are written in: the JavaScript that gpu.js compiles to WebAssembly or runs, here, and GLSL for
// `webgl2` (glsl/dialect.ts). The writer decides what is computed where; a dialect says how it is spelled.
//
// Note: integers in JavaScript. gpu.js puts an integer into an f32 local unless two things hold: the variable is counted up
// somewhere (`i++` makes it an Integer), and its first value is a literal integer whose type gpu.js does not remember between
// its two passes (`this.output.x` alone). Hence `let i = this.output.x; i++; i = …`: an i32 in `webasm`, whose + − × wrap and
// compare exactly. A bool is the number 0 or 1, for gpu.js knows Boolean operands in some places only.
import type { Primitive } from "../../../dsl/primitives.js";
import type { Type } from "../../lower/expr.js";
import { type Helper, helpers } from "./helpers.js";
import type { GpujsKernel } from "./program.js";
import { drawn } from "./random.js";
import { type Parts, type Spelling, spelling } from "./spelling.js";

export interface Dialect {
  readonly spelling: Readonly<Record<Primitive | "idiv" | "imod", Spelling>>;
  /** The number of the thread's cell, an int. */
  readonly cell: string;
  /** Statements that bind a name, to be assigned again or not. `bool`: from a condition. */
  bind(type: Type, name: string, text: string): string;
  /** The same from a value that has the type already. */
  copy(type: Type, name: string, text: string): string;
  constant(type: Type, name: string, value: number): string;
  /** The head of a loop from 0 up to a bound. */
  turns(counter: string, bound: string): string;
  /** ⌊a / b⌋ of ints, a ≥ 0, b > 0. */
  quotient(a: string, b: string): string;
  /** A bool (where it does not stand for the real 0 or 1 as it is), or an int, as a real. */
  toReal(type: "int" | "bool", text: string): { readonly text: string; readonly named: boolean };
  /** A real of whole value within 32 bits, or a bool, as an int. */
  toInt(text: string): string;
  /** A condition: x is not NaN. */
  isNumber(x: string): string;
  /** The real 0. */
  readonly zero: string;
  read(array: string, address: string): string;
  drawn(p: Parts, kind: "uniform" | "normal", key: string, extend: readonly string[], counter: string): string;
  /** The kernel of this body. `args`: names of arrays of so many elements, and of ints (null); `helpers`: what it calls. */
  kernel(
    args: readonly { readonly name: string; readonly length: number | null }[],
    lines: readonly string[],
    helpers: ReadonlySet<string>,
    cells: number,
  ): Pick<GpujsKernel, "source" | "functions" | "native">;
}

/** In `cpu` arithmetic is f64: every real is rounded. */
export const javascript = (mode: "webasm" | "cpu"): Dialect => ({
  spelling,
  cell: "this.thread.x",
  bind: (type, name, text) =>
    type === "real"
      ? `let ${name} = ${mode === "cpu" ? `Math.fround(${text})` : text};`
      : type === "int"
        ? // `| 0`: a literal would go through f32 on its way into an Integer, and `cpu` would keep −0 and fractions.
          `let ${name} = this.output.x; ${name}++; ${name} = (${text}) | 0;`
        : `let ${name} = (${text}) ? 1 : 0;`,
  copy: (_, name, text) => `let ${name} = ${text};`,
  constant: (_, name, value) => {
    const v = Math.fround(value);
    const text = Number.isNaN(v) ? "Infinity - Infinity" : Object.is(v, -0) ? "-0" : String(v);
    return `let ${name} = ${text};`;
  },
  turns: (k, bound) => `for (let ${k} = 0; ${k} < ${bound}; ${k}++)`,
  quotient: (a, b) => `Math.floor(${a} / ${b})`,
  toReal: (type, text) => ({ text, named: type === "bool" }),
  toInt: (text) => text,
  isNumber: (x) => `${x} === ${x}`,
  zero: "0",
  read: (array, address) => `${array}[${address}]`,
  drawn,
  kernel: (args, lines, used) => ({
    source: `function kernel(${args.map((a) => a.name).join(", ")}) {\n${lines.join("\n")}\n}`,
    functions: [...used].map((h) => helpers[h as Helper]), // the spellings above name helpers alone
    native: null,
  }),
});
