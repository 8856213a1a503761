// What exported programs have in common, whatever the target: files as text, what they are of, and names.
import type { DType } from "../../dsl/node.js";
import { type Buffer, elements, maxOf } from "../lower/expr.js";
import type { Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";

export interface ExportedFile {
  readonly name: string;
  readonly text: string;
}
export interface About {
  /** What functions and the header are called. */
  readonly name: string;
  /** FILE#export. */
  readonly title: string;
  /** Of Mallard. */
  readonly version: string;
  /** Where the author wrote what a nest computes; "" where nowhere. */
  readonly origin: (n: Nest) => string;
}

/** A path in a tree of tensors as a name. */
export const field = (path: string): string => path.replace(/[^A-Za-z0-9]+/g, "_").replace(/^(?=\d|$)/, "_");
/** Names made unique by a number; `taken` are those that no name may be. */
export function numbered(taken: readonly string[]): (name: string) => string {
  const used = new Set(taken);
  return (name) => {
    let text = name;
    for (let n = 2; used.has(text); n++) text = `${name}_${n}`;
    used.add(text);
    return text;
  };
}
/** `query 128, dim 64`; run-time extents by their greatest value. */
export const shapeOf = (b: Buffer): string =>
  b.axes.map((a) => (typeof a.extent === "number" ? `${a.name} ${a.extent}` : `${a.name} up to ${maxOf(a.extent)}`)).join(", ");

/** `f32 [query 128, dim 64]` */
export const describe = (b: Buffer): string => (b.axes.length === 0 ? `${b.dtype}, one number` : `${b.dtype} [${shapeOf(b)}]`);

/** An array that goes in or comes out. */
export interface Argument {
  readonly name: string;
  readonly buffer: Buffer;
  readonly kind: "input" | "output" | "state";
}
/** Inputs, state, outputs. */
export const argumentsOf = (plan: Plan): readonly Argument[] =>
  (["input", "state", "output"] as const).flatMap((kind) => {
    const of = { input: plan.inputs, state: plan.state, output: plan.outputs }[kind];
    return Object.entries(of).map(([name, buffer]) => ({ name, buffer, kind }));
  });

// ── modules of JavaScript ────────────────────────────────────────────────────────────────────────────────
/** What no variable of a module may be called in strict mode. */
export const JS_KEYWORDS: readonly string[] =
  `arguments await break case catch class const continue debugger default delete do else enum eval export extends
  false finally for function if implements import in instanceof interface let new null package private protected public return static super switch this
  throw true try typeof var void while with yield`.split(/\s+/);
/** A line of the text that is made, not of the file that makes it. */
export const importing = (what: string, from: string): string => `import ${what} from "${from}";`;
export const listed = (xs: readonly (string | number)[]): string => `[${xs.join(", ")}]`;
export const quoted = (text: string): string => JSON.stringify(text);
export const numberText = (x: number): string => (Object.is(x, -0) ? "-0" : String(x));
/** A random value of each type: data to try a program with. */
const RANDOM: { readonly [D in DType]: string } = {
  f32: "Math.random() - 0.5",
  f64: "Math.random() - 0.5",
  bf16: "Math.random() - 0.5",
  f16: "Math.random() - 0.5",
  i32: "Math.floor(4 * Math.random())",
  bool: "Math.random() < 0.5 ? 1 : 0",
};
/** As many random numbers as the buffer has elements. */
export const randomArray = (b: Buffer): string => `Float32Array.from({ length: ${elements(b)} }, () => ${RANDOM[b.dtype]})`;
/** `for (let i = 0; i < 3; i++)`: the turns of a plan's loop, in the order in which it runs them. */
export const loopHead = (i: string, s: { readonly count: number; readonly reverse: boolean }): string =>
  s.reverse ? `for (let ${i} = ${s.count - 1}; ${i} >= 0; ${i}--)` : `for (let ${i} = 0; ${i} < ${s.count}; ${i}++)`;
/** package.json of what is exported, with the one package that it needs. */
export const packageText = (about: About, needs: Readonly<Record<string, string>>): string =>
  `${JSON.stringify({ name: about.name, private: true, type: "module", dependencies: needs }, null, 2)}\n`;
/** A function of the exported support: calls each(dense, strided) for every index of an array. */
export const FOR_EACH_IN = `/** Calls each(dense, strided) for every index below \`counts\`, row by row. */
function forEachIn({ counts, strides }, each) {
  const length = counts.reduce((n, c) => n * c, 1);
  const at = counts.map(() => 0);
  for (let dense = 0, address = 0; dense < length; dense++) {
    each(dense, address);
    for (let d = counts.length - 1; d >= 0; d--) {
      at[d]++;
      address += strides[d];
      if (at[d] < counts[d]) break;
      address -= strides[d] * at[d];
      at[d] = 0;
    }
  }
}`;
