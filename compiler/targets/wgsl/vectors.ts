// Four elements at a time: a `vector` loop of four turns that walks memory contiguously, from a multiple of four, is printed
// as vec4 loads and stores around the four turns (print.ts). Which loops those are, and which memory is declared as vec4 by that,
// is decided here. Memory that others write element by element stays an array of f32: WGSL may write a whole vec4 where one of
// its components is stored. Where elements are packed, four of them are whole words, and no invocation shares one.
import { exprsOf, type For, type Kernel, type Place, type Stmt, statements } from "../../loop/ir.js";
import { coefficient, linear, namesOf, offset, rename, termsOf } from "../../loop/terms.js";
import { type Buffer, type Expr, elements, int } from "../../lower/expr.js";
import { turnsOf } from "./unroll.js";

export const LANES = 4;
type Load = Expr & { kind: "load" };
type Store = Stmt & { s: "store" };
/** Memory whose elements are f32; packed memory; an invocation's own; else. */
export type Kind = "f32" | "packed" | "own" | "other";
export interface FourTurns {
  /** What is loaded and stored four at a time; other accesses are made turn by turn. */
  readonly loads: readonly Load[];
  readonly stores: ReadonlySet<Store>;
}
export interface Vectors {
  readonly loops: ReadonlyMap<For, FourTurns>;
  /** Memory that is loaded or stored four at a time. */
  readonly wide: ReadonlySet<Buffer>;
  /** Memory that is also stored element by element, by several invocations. */
  readonly apart: ReadonlySet<Buffer>;
}

export function vectorsOf(kernel: Kernel, kind: (b: Buffer) => Kind): Vectors {
  const divides = divisors(kernel);
  const all = statements(kernel.body);
  const loops = new Map<For, FourTurns>();
  const [wide, apart, four] = [new Set<Buffer>(), new Set<Buffer>(), new Set<Stmt>()];
  for (const s of all) {
    if (s.s !== "for" || s.bind !== "vector") continue;
    const made = fourTurns(s, divides, kind);
    if (!made) continue;
    loops.set(s, made);
    for (const l of made.loads) wide.add(l.buffer);
    for (const t of made.stores) {
      wide.add(t.buffer);
      four.add(t);
    }
  }
  for (const s of all) if (s.s === "store" && !four.has(s) && kind(s.buffer) !== "own") apart.add(s.buffer);
  return { loops, wide, apart };
}

/** undefined: a loop of another form, or one whose turns may read what others have written. */
function fourTurns(s: For, divides: Divides, kind: (b: Buffer) => Kind): FourTurns | undefined {
  if (s.step !== 1 || turnsOf(s) !== LANES || s.body.some((t) => t.s !== "let" && t.s !== "store")) return undefined;
  const varying = new Set([s.v]);
  for (const t of s.body) if (t.s === "let") varying.add(t.name);
  const aligned = (p: Place): boolean => {
    if (elements(p.buffer) % LANES !== 0) return false;
    const at = offset(p.buffer, p.index);
    if ([...namesOf(at)].some((n) => n !== s.v && varying.has(n)) || coefficient(at, s.v) !== 1) return false;
    return divisorOf(laneOf(at, s, 0), divides) % LANES === 0;
  };
  const stored = new Map<Buffer, Expr>();
  const stores = new Set<Store>();
  for (const t of s.body) {
    if (t.s !== "store") continue;
    if (stored.has(t.buffer)) return undefined;
    stored.set(t.buffer, offset(t.buffer, t.index));
    if ((kind(t.buffer) === "f32" || kind(t.buffer) === "packed") && aligned(t)) stores.add(t);
  }
  const loads: Load[] = [];
  for (const e of termsOf(s.body.flatMap(exprsOf))) {
    if (e.kind !== "load") continue;
    const to = stored.get(e.buffer);
    if (to && to !== offset(e.buffer, e.index)) return undefined;
    if (!e.inside && kind(e.buffer) === "f32" && namesOf(e).has(s.v) && aligned(e)) loads.push(e);
  }
  return { loads, stores };
}
/** A term in one of the turns. */
export const laneOf = (e: Expr, s: For, lane: number): Expr =>
  s.from.kind === "num" ? (rename([e], new Map([[s.v, int(s.from.value + lane)]]))[0] as Expr) : e;

type Divides = ReadonlyMap<string, number>;
const gcd = (a: number, b: number): number => {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y > 0) [x, y] = [y, x % y];
  return x;
};
/** A number that divides every value of the names that the kernel defines. 0 divides 0 alone. */
function divisors(kernel: Kernel): Divides {
  const out = new Map<string, number>();
  const define = (name: string, by: number) => out.set(name, out.has(name) ? gcd(out.get(name) as number, by) : by);
  for (const s of statements(kernel.body)) {
    if (s.s === "let" && s.value.type === "int") define(s.name, divisorOf(s.value, out));
    if (s.s === "var" && s.value.type === "int") define(s.name, 1);
    if (s.s === "for") define(s.v, gcd(s.step, divisorOf(s.from, out)));
  }
  return out;
}
function divisorOf(root: Expr, divides: Divides): number {
  const known = new Map<Expr, number>();
  for (const e of termsOf([root])) {
    const of = (i: number) => known.get((e as { args: readonly Expr[] }).args[i] as Expr) as number;
    known.set(e, e.type !== "int" ? 1 : own(e, of, divides));
  }
  const { of, constant } = linear(root);
  return [...of].reduce((n, [atom, c]) => gcd(n, c * (known.get(atom) ?? 1)), Math.abs(constant));
}
function own(e: Expr, of: (i: number) => number, divides: Divides): number {
  if (e.kind === "num") return Math.abs(e.value);
  if (e.kind === "var" || e.kind === "local") return divides.get(e.name) ?? 1;
  if (e.kind !== "call") return 1;
  switch (e.prim) {
    case "neg":
      return of(0);
    case "add":
    case "sub":
    case "imod":
    case "min":
    case "max":
      return gcd(of(0), of(1));
    case "select":
      return gcd(of(1), of(2));
    case "mul":
      return of(0) * of(1);
    default:
      return 1;
  }
}
