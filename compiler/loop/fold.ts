// The tree of a fold, as loops. It depends on the fold's own length alone (design.md, Bits), so every schedule computes it:
//
//   chunks of 256 along the row-major flat index; a commutative fold (sum, max, min, prod) runs eight chains in a
//   chunk, element i in chain i mod 8, then combines chain l with l + 4, l with l + 2, 0 with 1; any other fold
//   runs one chain in a chunk. Chains start from `empty`; a sum of products is an fma chain. Chunks are combined in order,
//   from `empty`.
//
// Where the eight chains live is the schedule's: in the lanes of one vector (`lanes`: the fold's own index is
// vectorised), or in eight values of an iteration (`values`: vectors run along another axis).
import type { DType } from "../../dsl/node.js";
import { apply, type Expr, int, load, local, num, variable } from "../lower/expr.js";
import { CHUNK, type Monoid } from "../lower/nest.js";
import { allocS, ifS, letS, loop, type Stmt, setS, storeS, tile, varS } from "./ir.js";
import { count, freshName, indexed, type Span, unflatten } from "./spans.js";
import { add, asReal, imin, imod, rename, sub } from "./terms.js";

export { CHUNK };

const CHAINS = 8;

const dtypeOf = (e: Expr): DType => (e.type === "real" ? "f32" : e.type === "int" ? "i32" : "bool");
const as = (e: Expr, like: Expr): Expr => (like.type === "real" ? asReal(e) : e);

/** combine(x, y), component by component. */
export function combined(monoid: Monoid, x: readonly Expr[], y: readonly Expr[]): readonly Expr[] {
  const to = new Map<string, Expr>();
  monoid.names.forEach((n, c) => {
    const like = monoid.combine[c] as Expr;
    to.set(`x.${n}`, as(x[c] as Expr, like));
    to.set(`y.${n}`, as(y[c] as Expr, like));
  });
  const [x0, y0] = [x[0] as Expr, y[0] as Expr];
  if (monoid.kind === "sum" && y0.kind === "call" && y0.type === "real" && y0.prim === "mul")
    return [apply("fma", "real", asReal(y0.args[0] as Expr), asReal(y0.args[1] as Expr), x0)];
  return rename(monoid.combine, to);
}
export const emptyOf = (monoid: Monoid): readonly Expr[] => monoid.empty.map((value, c) => num(value, (monoid.combine[c] as Expr).type));
export const bound = (monoid: Monoid, bind: readonly string[]): readonly Expr[] => bind.map((b, c) => local(b, (monoid.combine[c] as Expr).type));

export interface Fold {
  readonly over: readonly Span[];
  readonly monoid: Monoid;
  readonly elements: readonly Expr[];
  readonly bind: readonly string[];
}

export function foldLoops(fold: Fold, chains: "lanes" | "values"): readonly Stmt[] {
  const { over, monoid, bind } = fold;
  const n = count(over);
  const totals = bind.map((b) => `${b}_all`);
  const total = bound(monoid, totals);
  const c = freshName("chunk");
  const single = n.kind === "num" && n.value > 0 && n.value <= CHUNK;
  const even = n.kind === "num" && n.value % CHUNK === 0;
  const from = single ? int(0) : variable(c);
  const to = single ? n : even ? add(from, int(CHUNK)) : imin(add(from, int(CHUNK)), n);
  const chunk = monoid.kind === "general" ? chainedChunk(fold, from, to) : interleavedChunk(fold, from, to, chains);
  const body = [...chunk.body, ...setAll(totals, combined(monoid, total, chunk.result))];
  return [
    ...emptyOf(monoid).map((e, i) => varS(totals[i] as string, e)),
    ...(single ? body : [loop(c, int(0), n, body, "serial", CHUNK)]),
    ...bind.map((b, i) => letS(b, total[i] as Expr)),
  ];
}
function setAll(names: readonly string[], values: readonly Expr[]): readonly Stmt[] {
  if (names.length === 1) return [setS(names[0] as string, values[0] as Expr)];
  const next = names.map((n) => freshName(`${n}_next`));
  return [...values.map((v, i) => letS(next[i] as string, v)), ...names.map((n, i) => setS(n, local(next[i] as string, (values[i] as Expr).type)))];
}

function chainedChunk(fold: Fold, from: Expr, to: Expr): { body: readonly Stmt[]; result: readonly Expr[] } {
  const names = fold.bind.map((b) => freshName(`${b}_chunk`));
  const acc = bound(fold.monoid, names);
  const f = freshName("f");
  const flat = fold.over.length === 1 ? [] : unflatten(fold.over, variable(f));
  const single = fold.over.length === 1 ? new Map([[(fold.over[0] as Span).v, variable(f)]]) : new Map<string, Expr>();
  const elements = rename(fold.elements, single);
  return {
    body: [
      ...emptyOf(fold.monoid).map((e, i) => varS(names[i] as string, e)),
      loop(f, from, to, [...flat, ...setAll(names, combined(fold.monoid, acc, elements))]),
    ],
    result: acc,
  };
}

function interleavedChunk(fold: Fold, from: Expr, to: Expr, chains: "lanes" | "values"): { body: readonly Stmt[]; result: readonly Expr[] } {
  const { monoid } = fold;
  const bind = chains === "lanes" ? "vector" : "unroll";
  const like = monoid.combine[0] as Expr;
  const part = tile(`${fold.bind[0]}_part`, dtypeOf(like), CHAINS);
  const [i, f, l, r] = ["lane", "f", "lane", "f_rest"].map(freshName) as [string, string, string, string];
  const n = count(fold.over);
  const static8 = n.kind === "num" && n.value % CHAINS === 0;
  const whole = static8 ? to : sub(to, imod(to, int(CHAINS)));
  const step = (flat: Expr, lane: Expr, slot: Expr) => {
    const here = indexed(fold.over, flat, lane, CHAINS);
    const value = combined(monoid, [load(part, [slot])], rename(fold.elements, here.to))[0] as Expr;
    return { lets: here.lets, body: [...here.inner, storeS(part, [slot], value)] };
  };
  const main = step(variable(f), variable(l), variable(l));
  const rest = step(whole, sub(variable(r), whole), sub(variable(r), whole));
  // Chain l takes in chain l + 4, then l + 2, then l + 1.
  const tree: Stmt[] = [];
  let level: readonly Expr[] = Array.from({ length: CHAINS }, (_, k) => load(part, [int(k)]));
  while (level.length > 1) {
    const half = level.length / 2;
    const next: Expr[] = [];
    for (let k = 0; k < half; k++) {
      const name = freshName(`${fold.bind[0]}_tree`);
      tree.push(letS(name, combined({ ...monoid, kind: "general" }, [level[k] as Expr], [level[k + half] as Expr])[0] as Expr));
      next.push(local(name, like.type));
    }
    level = next;
  }
  return {
    body: [
      allocS(part, "private"),
      loop(i, int(0), int(CHAINS), [storeS(part, [variable(i)], emptyOf(monoid)[0] as Expr)], bind),
      loop(f, from, whole, [...main.lets, loop(l, int(0), int(CHAINS), main.body, bind)], "serial", CHAINS),
      ...(static8 ? [] : [ifS(apply("lt", "bool", whole, to), [...rest.lets, loop(r, whole, to, rest.body)])]),
      ...tree,
    ],
    result: [level[0] as Expr],
  };
}
