// The verifier of plans: what every later stage may rely on. A failure is our bug, never the user's.
//
//   variables   are bound by the nest, an enclosing loop, or are run-time extents; locals by an earlier stage
//   accesses    have one int index an axis; without a guard each is proved within the buffer
//   stores      have the buffer's kind of value
//   temporaries have a place, and are written before they are read

import type { Plan } from "../plan.js";
import { type Buffer, type Expr, extentVar, maxOf, partsOf, variable } from "./expr.js";
import { variables } from "./form.js";
import { isub, substituted } from "./ints.js";
import { axesOf, expressionsOf, loadsOf, storesOf } from "./memory.js";
import type { Blocks, Monoid, Nest, Step } from "./nest.js";
import { type Range, rangeOf } from "./ranges.js";
import { showExpr } from "./show.js";
import { turnRanges } from "./turns.js";

export class PlanBug extends Error {
  override readonly name = "PlanBug";
}

export function verifyPlan(plan: Plan): void {
  const bounds = new Map<string, Range>();
  for (const e of plan.extents) {
    const v = extentVar(e);
    if (v.kind === "var") bounds.set(v.name, [0, e.max]);
  }
  const known = new Set(plan.buffers);
  const written = new Set(plan.buffers.filter((b) => b.role !== "temp" && b.role !== "output"));
  for (const b of plan.buffers)
    if (b.role === "temp" && storedIn(plan.steps, b) && !plan.offsets.has(b.id)) throw new PlanBug(`temporary ${b.name} has no place`);
  const blocks: Blocks[] = [];
  const walk = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.step === "loop") {
        for (const [v, range] of turnRanges(s)) bounds.set(v, range);
        if (s.blocks) blocks.push(s.blocks);
        walk(s.body);
        if (s.blocks) blocks.pop();
        for (const [v] of turnRanges(s)) bounds.delete(v);
        continue;
      }
      const here = new Map(bounds);
      for (const a of axesOf(s.nest)) here.set(a.v, [0, Math.max(0, maxOf(a.extent) - 1)]);
      verifyNest(s.nest, here, known, written, wholeRows(s.nest, blocks));
      for (const st of storesOf(s.nest)) written.add(st.buffer);
    }
  };
  walk(plan.steps);
}

/** By an axis that runs over rows of a block: where they start, and the bounds of all rows. */
type WholeRows = ReadonlyMap<string, { readonly start: Expr; readonly all: Range }>;
const wholeRows = (n: Nest, blocks: readonly Blocks[]): WholeRows =>
  new Map(
    blocks.flatMap(({ spans, extent }) =>
      axesOf(n).flatMap((a) => {
        const span = typeof a.extent === "number" ? undefined : spans.find((s) => s.rows === a.extent);
        return span ? [[a.v, { start: variable(span.start), all: [0, Math.max(0, maxOf(extent) - 1)] as Range }] as const] : [];
      }),
    ),
  );

const storedIn = (steps: readonly Step[], b: Buffer): boolean =>
  steps.some((s) => (s.step === "loop" ? storedIn(s.body, b) : storesOf(s.nest).some((st) => st.buffer === b)));

function localsOf(n: Nest): ReadonlySet<string> {
  if (n.form === "contract") return new Set(["sum"]);
  if (n.form === "top") return new Set(["value", "index"]);
  if (n.form === "tiles") {
    const operands = (m: Monoid) => m.names.flatMap((c) => [`x.${c}`, `y.${c}`]);
    return new Set([
      "sum",
      ...n.dots.map((d) => d.name),
      ...n.sides.flatMap((s) => [s.name, ...operands(s.monoid)]),
      ...n.folds.flatMap((f) => [...f.bind, ...f.bind.map((b) => `was.${b}`), ...operands(f.monoid)]),
    ]);
  }
  if (n.form !== "row") return new Set();
  return new Set(n.stages.flatMap((s) => (s.stage === "map" ? [] : [...s.bind, ...s.monoid.names.flatMap((c) => [`x.${c}`, `y.${c}`])])));
}

function verifyNest(n: Nest, bounds: ReadonlyMap<string, Range>, known: ReadonlySet<Buffer>, written: ReadonlySet<Buffer>, rows: WholeRows): void {
  const fail = (what: string): never => {
    throw new PlanBug(`kernel ${n.name}: ${what}`);
  };
  const locals = localsOf(n);
  const all = expressionsOf(n);
  const seen = new Set<Expr>();
  const todo = [...all];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "var" && !bounds.has(e.name)) fail(`variable ${e.name} is not bound`);
    if (e.kind === "local" && !locals.has(e.name)) fail(`local ${e.name} is not bound`);
    todo.push(...partsOf(e));
  }
  /** Along an axis of no elements nothing is read. */
  const empty = new Set(axesOf(n).flatMap((a) => (maxOf(a.extent) === 0 ? [a.v] : [])));
  const idle = (e: Expr) => empty.size > 0 && [...variables(e)].some((v) => empty.has(v));
  // A row of a block is a row of all: start + v is one number there.
  const inAll = new Map([...bounds, ...[...rows].map(([v, { all }]) => [v, all] as const)]);
  const amongAll = (e: Expr): Expr => substituted(e, new Map([...rows].map(([v, { start }]) => [v, isub(variable(v), start)])));
  const access = (b: Buffer, index: readonly Expr[], guarded: boolean) => {
    if (!known.has(b)) fail(`buffer ${b.name} is not of this plan`);
    if (index.length !== b.axes.length) fail(`${b.name} has ${b.axes.length} axes and is indexed by ${index.length}`);
    index.forEach((e, i) => {
      const max = maxOf((b.axes[i] as (typeof b.axes)[number]).extent);
      if (e.type !== "int") fail(`${b.name} is indexed by ${e.type} ${showExpr(e)}`);
      let [lo, hi] = rangeOf(e, bounds);
      if (!guarded && (lo < 0 || hi >= max)) [lo, hi] = rangeOf(amongAll(e), inAll);
      if (!guarded && max > 0 && !idle(e) && (lo < 0 || hi >= max)) fail(`${b.name}: index ${showExpr(e)} is in [${lo}, ${hi}], the axis has ${max}`);
    });
  };
  const own = new Set(storesOf(n).map((s) => s.buffer));
  for (const l of loadsOf(all)) {
    access(l.buffer, l.index, l.inside !== null);
    const nothing = l.buffer.axes.some((a) => maxOf(a.extent) === 0); // what a loop of no turns keeps: nothing to write or read
    if (!nothing && !written.has(l.buffer) && !own.has(l.buffer)) fail(`${l.buffer.name} is read before it is written`);
  }
  for (const s of storesOf(n)) {
    access(s.buffer, s.index, false);
    const wants = s.buffer.dtype === "i32" ? "int" : s.buffer.dtype === "bool" ? "bool" : "real";
    if (n.form !== "top" && n.form !== "scatter" && s.value.type !== wants)
      fail(`${s.buffer.name} (${s.buffer.dtype}) is given ${s.value.type} ${showExpr(s.value)}`);
  }
}
