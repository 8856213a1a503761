// Loop IR: statements over index notation (`lower/expr.ts`). A nest says what is computed; loop IR says in which order,
// by whom and where intermediate values live, still in no target's words: C, WGSL and the tests' interpreter read it.
//
// Values are Exprs. Beside a nest's own names they may hold locals (`let`, `var`) and loads from memory that the kernel
// allocates itself: a tile is a Buffer as any other, brought into being by `alloc`. Every loop carries a binding. A
// `vector` loop's iterations are independent, so a target may run as many at a time as its vectors hold; a `thread`
// loop's as well, and they are divided statically. `workgroup` and `local` are a GPU's two levels of the same.
import type { DType, Extent } from "../../dsl/node.js";
import { type Buffer, buffer, type Expr, int } from "../lower/expr.js";

export type Binding = "serial" | "unroll" | "vector" | "thread" | "workgroup" | "local";
/** private: one loop iteration's own, small; scratch: one thread's own, large; workgroup: shared by a workgroup. */
export type Space = "private" | "scratch" | "workgroup";

export interface Place {
  readonly buffer: Buffer;
  readonly index: readonly Expr[];
}
export interface For {
  readonly s: "for";
  readonly v: string;
  readonly from: Expr;
  readonly to: Expr;
  /** > 0. */
  readonly step: number;
  readonly bind: Binding;
  readonly body: readonly Stmt[];
}
export type Stmt =
  | For
  /** An immutable local. */
  | { readonly s: "let"; readonly name: string; readonly value: Expr }
  /** A mutable local and its first value; `set` gives it another. */
  | { readonly s: "var"; readonly name: string; readonly value: Expr }
  | { readonly s: "set"; readonly name: string; readonly value: Expr }
  | { readonly s: "alloc"; readonly buffer: Buffer; readonly space: Space }
  | ({ readonly s: "store"; readonly value: Expr } & Place)
  /** What is at this place is read soon: a hint, which means nothing. */
  | ({ readonly s: "fetch" } & Place)
  | { readonly s: "if"; readonly cond: Expr; readonly then: readonly Stmt[]; readonly otherwise: readonly Stmt[] }
  /** Every invocation of a workgroup (or every thread) arrives before one goes on. */
  | { readonly s: "barrier"; readonly scope: "workgroup" | "threads" }
  /** A target's instruction in place of loops of equal `meaning`: a target without it prints the meaning. Writes the
   *  last of `places`, reads no other memory than they lead to. */
  | {
      readonly s: "use";
      readonly instruction: Instruction;
      readonly places: readonly Place[];
      readonly ints: readonly Expr[];
      readonly meaning: readonly Stmt[];
    };

/** The instructions recipes ask for; each target's spelling is a total record of these (null: print the meaning).
 *  block: places A, B, C; ints rows, columns (a multiple of 16), depth, A's strides along rows, between groups of 12 rows, along
 *    depth, B's strides along depth and between groups of 16 columns, C's row stride, add:
 *    C[r, c] (+)= Σ_k A[r, k]·B[k, c], an fma chain from 0 along k. A target divides rows and columns into what its
 *    registers hold.
 *  transpose8: places source (8 rows of 8), target; int stride: target[c·stride + r] = source[r, c], c ascending, and
 *    target[c·stride … + 8) is all overwritten.
 *  exchange: places value, other (one invocation's own); ints invocation, mask (a power of two, a constant): other is what
 *    invocation ^ mask of the workgroup, a neighbour in its subgroup, has as value. All invocations come by. */
export type Instruction = "block" | "transpose8" | "exchange";

export interface Kernel {
  readonly name: string;
  readonly nodes: readonly number[];
  readonly body: readonly Stmt[];
}

/** The number of threads, in every kernel; a thread loop over exactly [0, threads) has one iteration a thread. */
export const THREADS = "n_threads";

export const loop = (v: string, from: Expr, to: Expr, body: readonly Stmt[], bind: Binding = "serial", step = 1): For => ({
  s: "for",
  v,
  from,
  to,
  step,
  bind,
  body,
});
export const letS = (name: string, value: Expr): Stmt => ({ s: "let", name, value });
export const varS = (name: string, value: Expr): Stmt => ({ s: "var", name, value });
export const setS = (name: string, value: Expr): Stmt => ({ s: "set", name, value });
export const storeS = (b: Buffer, index: readonly Expr[], value: Expr): Stmt => ({ s: "store", buffer: b, index, value });
export const fetchS = (b: Buffer, index: readonly Expr[]): Stmt => ({ s: "fetch", buffer: b, index });
export const allocS = (b: Buffer, space: Space): Stmt => ({ s: "alloc", buffer: b, space });
export const ifS = (cond: Expr, then: readonly Stmt[], otherwise: readonly Stmt[] = []): Stmt => ({ s: "if", cond, then, otherwise });

/** Memory that a kernel allocates itself. */
export const tile = (name: string, dtype: DType, ...extents: readonly Extent[]): Buffer =>
  buffer(
    name,
    dtype,
    extents.map((extent, i) => ({ name: `d${i}`, extent })),
    "temp",
  );

/** The bodies directly below a statement. */
export function bodiesOf(s: Stmt): readonly (readonly Stmt[])[] {
  switch (s.s) {
    case "for":
      return [s.body];
    case "if":
      return [s.then, s.otherwise];
    case "use":
      return [s.meaning];
    default:
      return [];
  }
}
/** The expressions that a statement holds itself. */
export function exprsOf(s: Stmt): readonly Expr[] {
  switch (s.s) {
    case "for":
      return [s.from, s.to];
    case "let":
    case "var":
    case "set":
      return [s.value];
    case "store":
      return [...s.index, s.value];
    case "fetch":
      return s.index;
    case "if":
      return [s.cond];
    case "use":
      return [...s.places.flatMap((p) => p.index), ...s.ints];
    case "alloc":
    case "barrier":
      return [];
  }
}
/** The same statement with other expressions, and other bodies. */
export function rebuild(s: Stmt, e: (x: Expr) => Expr, bodies: (b: readonly Stmt[]) => readonly Stmt[]): Stmt {
  switch (s.s) {
    case "for":
      return { ...s, from: e(s.from), to: e(s.to), body: bodies(s.body) };
    case "let":
    case "var":
    case "set":
      return { ...s, value: e(s.value) };
    case "store":
      return { ...s, index: s.index.map(e), value: e(s.value) };
    case "fetch":
      return { ...s, index: s.index.map(e) };
    case "if":
      return ifS(e(s.cond), bodies(s.then), bodies(s.otherwise));
    case "use":
      return { ...s, places: s.places.map((p) => ({ buffer: p.buffer, index: p.index.map(e) })), ints: s.ints.map(e), meaning: bodies(s.meaning) };
    case "alloc":
    case "barrier":
      return s;
  }
}
/** Every statement, a loop before its body. */
export function statements(body: readonly Stmt[]): readonly Stmt[] {
  const out: Stmt[] = [];
  const stack = [...body].reverse();
  for (let s = stack.pop(); s; s = stack.pop()) {
    out.push(s);
    for (const b of [...bodiesOf(s)].reverse()) stack.push(...[...b].reverse());
  }
  return out;
}
/** Buffers that a body stores into, its own allocations included. */
export function written(body: readonly Stmt[]): ReadonlySet<Buffer> {
  const out = new Set<Buffer>();
  for (const s of statements(body)) {
    if (s.s === "store") out.add(s.buffer);
    if (s.s === "use") out.add((s.places.at(-1) as Place).buffer);
  }
  return out;
}
export const zero = int(0);
