// Schedules as data: each directive changes how loops run and never what they compute. This file is the mechanism; recipes
// (policy) choose which directives, from the nest's shape and the target's limits. Loops are named by their variables.
//
//   split    one loop becomes a loop over blocks and a loop over one block
//   reorder  directly nested loops change places (their bounds must not depend on one another)
//   fuse     directly nested loops become one over their flat index
//   bind     who runs the iterations: vector, thread, unroll, workgroup, local
//   stage    a value that inner loops read again and again is computed once into a tile
//   use      a target's instruction takes the place of loops of equal meaning
import { type Buffer, type Expr, int, load, variable } from "../lower/expr.js";
import { useS } from "./instructions.js";
import { allocS, type Binding, bodiesOf, type For, type Instruction, loop, type Place, rebuild, type Space, type Stmt, storeS } from "./ir.js";
import { type Span, unflatten } from "./spans.js";
import { add, ceilDiv, imin, mul, namesOf, product, replace, sub, termsOf } from "./terms.js";

export type Directive =
  | { readonly do: "split"; readonly loop: string; readonly size: number; readonly blocks: string }
  /** All of a run of directly nested loops, outermost first. */
  | { readonly do: "reorder"; readonly order: readonly string[] }
  | { readonly do: "fuse"; readonly loops: readonly string[]; readonly flat: string }
  | { readonly do: "bind"; readonly loop: string; readonly to: Binding }
  /** In each iteration of `loop`: the value for all iterations of the loops `across` below it, whose numbers of iterations
   *  are at most the tile's extents, in its axes' order. */
  | {
      readonly do: "stage";
      readonly loop: string;
      readonly value: Expr;
      readonly across: readonly string[];
      readonly tile: Buffer;
      readonly space: Space;
    }
  | {
      readonly do: "use";
      readonly loop: string;
      readonly instruction: Instruction;
      readonly places: readonly Place[];
      readonly ints: readonly Expr[];
    };

export function applied(body: readonly Stmt[], directives: readonly Directive[]): readonly Stmt[] {
  return directives.reduce(apply, body);
}

function apply(body: readonly Stmt[], d: Directive): readonly Stmt[] {
  switch (d.do) {
    case "split":
      return at(body, d.loop, (l) => [split(l, d.size, d.blocks)]);
    case "bind":
      return at(body, d.loop, (l) => [{ ...l, bind: d.to }]);
    case "reorder":
      return run(body, d.order, (loops, inner) => nest(sorted(loops, d.order), inner));
    case "fuse":
      return run(body, d.loops, (loops, inner) => fused(loops, d.flat, inner));
    case "stage":
      return at(body, d.loop, (l) => [{ ...l, body: staged(l, d) }]);
    case "use":
      return at(body, d.loop, () => [useS(d.instruction, d.places, d.ints)]);
  }
}
const fail = (what: string): never => {
  throw new Error(`schedule: ${what}`);
};

/** Replaces the loop of this name, wherever it is. */
function at(body: readonly Stmt[], v: string, f: (l: For) => readonly Stmt[]): readonly Stmt[] {
  let found = false;
  const walk = (list: readonly Stmt[]): readonly Stmt[] =>
    list.flatMap((s) => {
      if (s.s === "for" && s.v === v) {
        found = true;
        return f(s);
      }
      return bodiesOf(s).length ? [rebuild(s, (e) => e, walk)] : [s];
    });
  const out = walk(body);
  return found ? out : fail(`there is no loop ${v}`);
}
/** Replaces a run of directly nested loops that has exactly these names. */
function run(
  body: readonly Stmt[],
  names: readonly string[],
  f: (loops: readonly For[], inner: readonly Stmt[]) => readonly Stmt[],
): readonly Stmt[] {
  const wanted = new Set(names);
  const first = loopsOf(body).find((l) => wanted.has(l.v)) ?? fail(`there is no loop among ${names.join(", ")}`);
  return at(body, first.v, (outermost) => {
    const loops: For[] = [];
    let inner: readonly Stmt[] = [outermost];
    while (loops.length < names.length) {
      const [s, ...others] = inner;
      if (s?.s !== "for" || others.length || !wanted.has(s.v)) return fail(`${names.join(", ")} are not directly nested`);
      loops.push(s);
      inner = s.body;
    }
    for (const l of loops) for (const n of namesOf(l.from, l.to)) if (wanted.has(n)) fail(`the bounds of ${l.v} depend on ${n}`);
    return f(loops, inner);
  });
}
function loopsOf(body: readonly Stmt[]): readonly For[] {
  const out: For[] = [];
  const stack = [...body].reverse();
  for (let s = stack.pop(); s; s = stack.pop()) {
    if (s.s === "for") out.push(s);
    for (const b of bodiesOf(s)) stack.push(...[...b].reverse());
  }
  return out;
}
const sorted = (loops: readonly For[], order: readonly string[]): readonly For[] => order.map((v) => loops.find((l) => l.v === v) as For); // run() has matched them
const nest = (loops: readonly For[], inner: readonly Stmt[]): readonly Stmt[] =>
  [...loops].reverse().reduce<readonly Stmt[]>((b, l) => [{ ...l, body: b }], inner);

function split(l: For, size: number, blocks: string): For {
  if (l.step !== 1) fail(`loop ${l.v} does not step by one`);
  const length = sub(l.to, l.from);
  const from = add(l.from, mul(variable(blocks), int(size)));
  const whole = length.kind === "num" && length.value % size === 0;
  const end = add(from, int(size));
  return loop(blocks, int(0), ceilDiv(length, size), [{ ...l, from, to: whole ? end : imin(l.to, end) }]);
}
function fused(loops: readonly For[], flat: string, inner: readonly Stmt[]): readonly Stmt[] {
  for (const l of loops) if (l.step !== 1 || l.from.kind !== "num" || l.from.value !== 0) fail(`loop ${l.v} does not count from zero by one`);
  const spans = loops.map((l): Span => ({ v: l.v, extent: l.to, max: Number.POSITIVE_INFINITY }));
  return [loop(flat, int(0), product(spans.map((s) => s.extent)), [...unflatten(spans, variable(flat)), ...inner])];
}
function staged(l: For, d: Directive & { do: "stage" }): readonly Stmt[] {
  const inner = loopsOf(l.body);
  const across = d.across.map((v) => inner.find((x) => x.v === v) ?? fail(`there is no loop ${v} in ${l.v}`));
  const inside = new Set(inner.map((x) => x.v));
  for (const n of namesOf(d.value)) if (inside.has(n) && !d.across.includes(n)) fail(`the staged value depends on ${n}`);
  for (const x of across) for (const n of namesOf(x.from)) if (inside.has(n)) fail(`${x.v} starts where ${n} says, below ${l.v}`);
  const index = across.map((x) => sub(variable(x.v), x.from));
  const fill = nest(
    across.map((x) => ({ ...x, bind: "serial" as const })),
    [storeS(d.tile, index, d.value)],
  );
  // Only where all the loops are around it does the tile hold the value.
  const swap = (list: readonly Stmt[], open: ReadonlySet<string>): readonly Stmt[] =>
    list.map((s) => {
      const known = s.s === "for" ? new Set([...open, s.v]) : open;
      const here = d.across.every((v) => open.has(v));
      const now = (e: Expr) =>
        here && termsOf([e]).includes(d.value) ? (replace([e], (t) => (t === d.value ? load(d.tile, index) : undefined))[0] as Expr) : e;
      return rebuild(s, now, (b) => swap(b, known));
    });
  return [allocS(d.tile, d.space), ...fill, ...swap(l.body, new Set())];
}
/** For messages and `explain`. */
export function showDirective(d: Directive): string {
  switch (d.do) {
    case "split":
      return `split ${d.loop} by ${d.size} into ${d.blocks}`;
    case "reorder":
      return `reorder ${d.order.join(", ")}`;
    case "fuse":
      return `fuse ${d.loops.join(", ")} into ${d.flat}`;
    case "bind":
      return `bind ${d.loop} to ${d.to}`;
    case "stage":
      return `stage a value across ${d.across.join(", ")} at ${d.loop} in ${d.space} memory`;
    case "use":
      return `use ${d.instruction} for ${d.loop}`;
  }
}
