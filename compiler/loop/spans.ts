// Loops before they are ordered: spans. Adjacent axes that every access walks as one (batch and time of a dense tensor,
// heads and their channels) are fused, so that inner loops are long and targets see one stride.
import { type Expr, extentVar, int, maxOf, partsOf, variable } from "../lower/expr.js";
import type { Axis, Store } from "../lower/nest.js";
import { type Binding, letS, loop, type Stmt } from "./ir.js";
import { add, ceilDiv, idiv, imin, imod, linear, mul, offset, product, rename } from "./terms.js";

export interface Span {
  readonly v: string;
  readonly extent: Expr;
  /** Static bound of the extent. */
  readonly max: number;
}
export const spanOf = (a: Axis): Span => ({ v: a.v, extent: extentVar(a.extent), max: maxOf(a.extent) });

/** What a kernel computes and stores, as flat lists of terms, so that fusion can rewrite all of it alike. */
export interface Work {
  readonly terms: readonly Expr[];
  readonly stores: readonly Store[];
}

/** May `outer` and `inner` run as one loop of |outer|·|inner| iterations: is every address Σ c·(outer·|inner| + inner), and
 *  does nothing else depend on either? */
function fusable(outer: Span, inner: Span, work: Work): boolean {
  if (inner.extent.kind !== "num") return false;
  const width = inner.extent.value;
  const seen = new Set<Expr>();
  const stack: Expr[] = [...work.terms];
  const access = (at: Expr): boolean => {
    let [o, i] = [0, 0];
    for (const [atom, c] of linear(at).of) {
      if (atom.kind === "var" && atom.name === outer.v) o += c;
      else if (atom.kind === "var" && atom.name === inner.v) i += c;
      else stack.push(atom);
    }
    return o === width * i;
  };
  for (const s of work.stores) {
    if (!access(offset(s.buffer, s.index))) return false;
    stack.push(s.value);
  }
  for (let e = stack.pop(); e; e = stack.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "var" && (e.name === outer.v || e.name === inner.v)) return false;
    if (e.kind === "load") {
      if (!access(offset(e.buffer, e.index))) return false;
      if (e.inside) stack.push(e.inside);
    } else stack.push(...partsOf(e));
  }
  return true;
}
function substitute(work: Work, to: ReadonlyMap<string, Expr>): Work {
  return {
    terms: rename(work.terms, to),
    stores: work.stores.map((s) => ({ buffer: s.buffer, index: rename(s.index, to), value: rename([s.value], to)[0] as Expr })),
  };
}
/** Fuses what can be fused in each group; in `ordered` groups (folds) neighbours alone. */
export function fuse(
  groups: readonly (readonly Span[])[],
  ordered: readonly boolean[],
  work: Work,
): { groups: readonly (readonly Span[])[]; work: Work } {
  const out = groups.map((g) => [...g]);
  let now = work;
  out.forEach((group, g) => {
    for (let again = true; again; ) {
      again = false;
      search: for (let o = 0; o < group.length; o++) {
        for (let i = 0; i < group.length; i++) {
          if (i === o || (ordered[g] && i !== o + 1)) continue;
          const [outer, inner] = [group[o] as Span, group[i] as Span];
          if (!fusable(outer, inner, now)) continue;
          now = substitute(now, new Map([[outer.v, int(0)]]));
          group[i] = { v: inner.v, extent: mul(outer.extent, inner.extent), max: outer.max * inner.max };
          group.splice(o, 1);
          again = true;
          break search;
        }
      }
    }
  });
  return { groups: out, work: now };
}

/** The variables of spans from the flat index over them, row-major. */
export function unflatten(spans: readonly Span[], flat: Expr): readonly Stmt[] {
  const out: Stmt[] = [];
  let rest = flat;
  for (let i = spans.length - 1; i >= 0; i--) {
    const s = spans[i] as Span;
    out.unshift(letS(s.v, i === 0 ? rest : imod(rest, s.extent)));
    rest = idiv(rest, s.extent);
  }
  return out;
}
/** The variables at flat index `base` + `lane`, lane < width and base a multiple of width: what to define outside the lanes'
 *  loop, what inside, and what to substitute. Where rows hold whole multiples of width all but the last variable are the
 *  same for all lanes (`uniform`). */
export interface Indexed {
  readonly lets: readonly Stmt[];
  readonly inner: readonly Stmt[];
  readonly to: ReadonlyMap<string, Expr>;
}
export const uniform = (spans: readonly Span[], width: number): boolean => {
  const last = spans.at(-1);
  return spans.length <= 1 || (last?.extent.kind === "num" && last.extent.value % width === 0);
};
export function indexed(spans: readonly Span[], base: Expr, lane: Expr, width: number): Indexed {
  const last = spans.at(-1);
  if (!last) return { lets: [], inner: [], to: new Map() };
  if (spans.length === 1) return { lets: [], inner: [], to: new Map([[last.v, add(base, lane)]]) };
  if (!uniform(spans, width)) return { lets: [], inner: unflatten(spans, add(base, lane)), to: new Map() };
  const start = freshName(`${last.v}_start`);
  return { lets: unflatten([...spans.slice(0, -1), { ...last, v: start }], base), inner: [], to: new Map([[last.v, add(variable(start), lane)]]) };
}
export const count = (spans: readonly Span[]): Expr => product(spans.map((s) => s.extent));
export const maxCount = (spans: readonly Span[]): number => spans.reduce((n, s) => n * s.max, 1);

/** Enough units that a static division among threads is even. */
const UNITS = 64;
let fresh = 0;
/** A name that no other loop has. */
export const freshName = (stem: string): string => `${stem}_${fresh++}`;
/** Names are new within a kernel: its text does not depend on what was scheduled before. */
export const restartNames = (): void => {
  fresh = 0;
};

/** Runs the body for all indices of `spans`, divided among threads. As many leading spans as it takes for an even
 *  division become one loop. */
export function overThreads(spans: readonly Span[], body: readonly Stmt[]): readonly Stmt[] {
  if (spans.length === 0) return [loop(freshName("once"), int(0), int(1), body, "thread")];
  let n = 1;
  while (n < spans.length && maxCount(spans.slice(0, n)) < UNITS) n++;
  const lead = spans.slice(0, n);
  const inner = inOrder(spans.slice(n), body);
  if (n === 1) return [loop((lead[0] as Span).v, int(0), (lead[0] as Span).extent, inner, "thread")];
  const flat = freshName("unit");
  return [loop(flat, int(0), count(lead), [...unflatten(lead, variable(flat)), ...inner], "thread")];
}
export const inOrder = (spans: readonly Span[], body: readonly Stmt[], bind: Binding = "serial"): readonly Stmt[] =>
  [...spans].reverse().reduce<readonly Stmt[]>((b, s) => [loop(s.v, int(0), s.extent, b, bind)], body);

/** A span in blocks of `size`: the span of block numbers, and the loop over one block. */
export function blocked(s: Span, size: number, body: readonly Stmt[], bind: Binding): { blocks: Span; inner: Stmt } {
  const v = freshName(`${s.v}_block`);
  const from = mul(variable(v), int(size));
  const whole = s.extent.kind === "num" && s.extent.value % size === 0;
  const to = add(from, int(size));
  return {
    blocks: { v, extent: ceilDiv(s.extent, size), max: Math.ceil(s.max / size) },
    inner: loop(s.v, from, whole ? to : imin(s.extent, to), body, bind),
  };
}

/** How well vectors suit a span: accesses that advance by one element with it, less those that jump. */
export function affinity(v: string, work: Work): number {
  let score = 0;
  const seen = new Set<Expr>();
  const stack = [...work.terms];
  const access = (at: Expr, weight: number) => {
    let step = 0;
    let jumps = false;
    for (const [atom, c] of linear(at).of) {
      if (atom.kind === "var" && atom.name === v) step += c;
      else {
        stack.push(atom);
        jumps ||= rename([atom], new Map([[v, int(0)]]))[0] !== atom;
      }
    }
    if (jumps) score -= weight;
    else if (step === 1) score += weight;
    else if (step !== 0) score -= weight;
  };
  for (const s of work.stores) {
    access(offset(s.buffer, s.index), 2);
    stack.push(s.value);
  }
  for (let e = stack.pop(); e; e = stack.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "load") {
      access(offset(e.buffer, e.index), 1);
      if (e.inside) stack.push(e.inside);
    } else stack.push(...partsOf(e));
  }
  return score;
}
/** The best span for vectors: the highest affinity, of equals the longest, of equals the last. */
export function bestVector(spans: readonly Span[], work: Work): { span: Span; score: number } | undefined {
  let best: { span: Span; score: number } | undefined;
  for (const span of spans) {
    const score = affinity(span.v, work) - (span.max < 8 ? 4 : 0);
    if (!best || score > best.score || (score === best.score && span.max >= best.span.max)) best = { span, score };
  }
  return best;
}
