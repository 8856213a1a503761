// Row nests: the stages of a row in sequence, by the lanes of the row (lanes.ts): 1 to 256 invocations, as its length asks.
// Folds are taken apart and put together again by all lanes, maps and prefixes are divided; a barrier stands between what
// lanes store and what others then read, and between what they have read and what takes its memory.
import { bound, combined } from "../../../loop/fold.js";
import { letS, loop, type Stmt, storeS } from "../../../loop/ir.js";
import { fuseRows, type Placed, prefersRows, workOf } from "../../../loop/recipes/row.js";
import { bestVector, count, freshName, maxCount, type Span, spanOf, unflatten } from "../../../loop/spans.js";
import { rename, sub, termsOf } from "../../../loop/terms.js";
import { type Expr, int, local, variable } from "../../../lower/expr.js";
import type { Nest, Stage, Store } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { alongRows, assigned, byLanes, ENOUGH, fitting, invocationsOf, type Lanes, powerFrom, powerUpTo, type Shape, started } from "./lanes.js";

/** Elements of a row that a lane is worth. */
const EACH = 4;
/** Rows that fill a GPU by themselves, if each is one invocation's. */
const MANY = 16_384;
/** Rows of a workgroup side by side: their elements are a memory transaction. */
const BESIDE = 16;
/** … and so many of a workgroup then. */
const LEAST = 64;
/** Prefixes take the parts of all lanes before them in, one by one. */
const SCANNING = 32;

export function row(nest: Extract<Nest, { form: "row" }>, limits: WgslLimits): readonly Stmt[] {
  const { rows, stages } = fuseRows(nest);
  const along = bestVector(rows, workOf(stages.map((s) => s.stage)))?.span;
  const beside = along !== undefined && prefersRows(along, stages);
  const order = along && beside ? [...rows.filter((r) => r !== along), along] : rows;
  return byLanes(order, shapeOf(order, stages, beside, limits), limits, (lanes) => stages.flatMap((s) => stageOf(s, lanes)));
}

/** Of the longest stage. */
const lengthOf = (stages: readonly Placed[]): number =>
  Math.max(1, ...stages.map(({ stage, inner }) => (stage.stage === "scan" ? spanOf(stage.over).max : maxCount(inner))));

const componentsOf = ({ stage }: Placed): number => (stage.stage === "map" ? 0 : stage.monoid.combine.length);
function shapeOf(rows: readonly Span[], stages: readonly Placed[], beside: boolean, limits: WgslLimits): Shape {
  const [n, length] = [maxCount(rows), lengthOf(stages)];
  const most = Math.min(invocationsOf(limits), fitting(Math.max(0, ...stages.map(componentsOf)), limits));
  const scanned = stages.some((s) => s.stage.stage === "scan") ? Math.min(most, SCANNING) : most;
  if (!beside) return alongRows(n, length, scanned, limits);
  const alone = n >= (limits.processor ? ENOUGH : MANY);
  const own = Math.min(powerUpTo(n), most, alone && !limits.processor ? LEAST : BESIDE);
  return { lanes: alone ? 1 : Math.min(powerFrom(length / EACH), scanned, most / own), rows: own, beside };
}

/** Memory that somebody may write while the kernel runs, in what these terms read. */
const reads = (terms: readonly Expr[]): boolean =>
  termsOf(terms).some((e) => e.kind === "load" && e.buffer.role !== "input" && e.buffer.role !== "table");
const termsOfStores = (stores: readonly Store[]): readonly Expr[] => stores.flatMap((s) => [s.value, ...s.index]);

function stageOf(placed: Placed, lanes: Lanes): readonly Stmt[] {
  switch (placed.stage.stage) {
    case "fold":
      return fold(placed.stage, placed.inner, lanes);
    case "map":
      return map(placed.stage, placed.inner, lanes);
    case "scan":
      return scan(placed.stage, lanes);
  }
}

function fold(stage: Stage & { stage: "fold" }, inner: readonly Span[], lanes: Lanes): readonly Stmt[] {
  const { monoid, elements, bind } = stage;
  const names = bind.map((b) => freshName(`${b}_part`));
  const taken = assigned(names, combined(monoid, bound(monoid, names), elements));
  const loops = (): readonly Stmt[] => {
    if (monoid.kind !== "general" || inner.length === 0) return lanes.divided(inner, taken);
    const run = lanes.run(count(inner));
    const f = freshName("f");
    return [...run.lets, loop(f, run.from, run.to, [...unflatten(inner, variable(f)), ...taken])];
  };
  return [
    ...lanes.before(reads(elements), false),
    ...started(monoid, names),
    ...lanes.when(loops()),
    ...lanes.total(monoid, names),
    ...bound(monoid, names).map((e, i) => letS(bind[i] as string, e)),
  ];
}

/** Every value before any store: memory updated in place reads its old value. */
function stored(stores: readonly Store[]): readonly Stmt[] {
  const names = stores.map(() => freshName("value"));
  return [
    ...stores.map((s, i) => letS(names[i] as string, s.value)),
    ...stores.map((s, i) => storeS(s.buffer, s.index, local(names[i] as string, s.value.type))),
  ];
}
function map({ stores }: Stage & { stage: "map" }, inner: readonly Span[], lanes: Lanes): readonly Stmt[] {
  const along = bestVector(inner, { terms: [], stores })?.span;
  const order = along ? [...inner.filter((s) => s !== along), along] : inner;
  return [...lanes.before(reads(termsOfStores(stores)), true), ...lanes.when(lanes.divided(order, stored(stores)))];
}

/** Each lane folds a run of neighbours, learns what the lanes before it have, and walks its run again. */
function scan(stage: Stage & { stage: "scan" }, lanes: Lanes): readonly Stmt[] {
  const { monoid, stores, bind } = stage;
  const over = spanOf(stage.over);
  const names = bind.map((b) => freshName(`${b}_acc`));
  const run = lanes.run(over.extent);
  const walk = (body: (to: ReadonlyMap<string, Expr>) => readonly Stmt[]): readonly Stmt[] => {
    const step = freshName("step");
    const at = stage.reverse ? sub(sub(over.extent, int(1)), variable(step)) : variable(step);
    return [loop(step, run.from, run.to, body(new Map([[over.v, at]])))];
  };
  const advance = (to: ReadonlyMap<string, Expr>) => assigned(names, combined(monoid, bound(monoid, names), rename(stage.elements, to)));
  const alone = lanes.shape.lanes === 1;
  const terms = [...stage.elements, ...termsOfStores(stores)];
  return [
    ...lanes.before(reads(terms), alone),
    ...run.lets,
    ...started(monoid, names),
    ...(alone ? [] : [...lanes.when(walk(advance)), ...lanes.prefix(monoid, names)]),
    ...lanes.before(reads(terms), true),
    ...lanes.when(
      walk((to) => {
        const lets = bound(monoid, names).map((e, i) => letS(bind[i] as string, e));
        const moved = stores.map((s) => ({ buffer: s.buffer, index: rename(s.index, to), value: rename([s.value], to)[0] as Expr }));
        return stage.exclusive ? [...lets, ...stored(moved), ...advance(to)] : [...advance(to), ...lets, ...stored(moved)];
      }),
    ),
  ];
}
