// Scatters: into[target = index] += value, in the order of `over`, so that bits are the same at every run: each invocation owns
// its part of the result, and there is nothing atomic. Indices are staged in workgroup memory, a chunk at a time, and every
// invocation walks them all. Neighbouring invocations own neighbouring rows, of a block of targets, which all of them
// find in the chunk at once; or, where there are few rows, each owns a target and keeps its sum in a register. On a processor
// indices are read where they are, without barriers, by as few as keep it busy.
import { allocS, ifS, letS, loop, type Stmt, setS, storeS, tile, varS } from "../../../loop/ir.js";
import { bestVector, count, freshName, maxCount, type Span, spanOf, unflatten } from "../../../loop/spans.js";
import { add, asReal, imin, less, namesOf, rename, sub } from "../../../loop/terms.js";
import { apply, type Expr, int, load, local, variable } from "../../../lower/expr.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { barrier, invocationsOf, powerUpTo } from "./lanes.js";

type Scatter = Extract<Nest, { form: "scatter" }>;

/** Indices in workgroup memory at a time. */
const CHUNK = 256;
/** Rows that are worth an invocation each. */
const ROWS = 32;
const WIDTH = 64;
/** Workgroups among which targets are divided where rows are few. */
const GROUPS = 128;
const PROCESSOR_GROUPS = 8;

export function scatter(nest: Scatter, limits: WgslLimits): readonly Stmt[] {
  const rows = nest.rows.map(spanOf);
  return maxCount(rows) >= ROWS || limits.processor ? byRows(nest, rows, limits) : byTargets(nest, rows, limits);
}

/** For each index of `over`, in order: `use` with the index there and statements that name the indices of `over`. */
function inTurn(over: readonly Span[], index: Expr, own: Expr, width: number, use: (index: Expr, names: readonly Stmt[]) => readonly Stmt[]) {
  const n = count(over);
  const staged = tile(freshName("indices"), "i32", CHUNK);
  const [chunk, e, element] = ["chunk", "e", "element"].map(freshName) as [string, string, string];
  const have = imin(int(CHUNK), sub(n, variable(chunk)));
  const filled = loop(
    element,
    own,
    have,
    [...unflatten(over, add(variable(chunk), variable(element))), storeS(staged, [variable(element)], index)],
    "serial",
    width,
  );
  const walked = loop(e, int(0), have, use(load(staged, [variable(e)]), unflatten(over, add(variable(chunk), variable(e)))));
  return { staged, loops: loop(chunk, int(0), n, [filled, barrier, walked, barrier], "serial", CHUNK) };
}

function byRows(nest: Scatter, rows: readonly Span[], limits: WgslLimits): readonly Stmt[] {
  const { buffer, index } = nest.into;
  const over = nest.over.map(spanOf);
  const target = spanOf(nest.target);
  const along = bestVector(rows, { terms: [nest.value], stores: [{ buffer, index, value: nest.value }] })?.span;
  const order = along ? [...rows.filter((r) => r !== along), along] : rows;
  const width = Math.min(WIDTH, invocationsOf(limits), powerUpTo(maxCount(rows)));
  const n = count(order);
  const blocks = Math.max(1, Math.ceil((limits.processor ? PROCESSOR_GROUPS : GROUPS) / Math.ceil(maxCount(rows) / width)));
  const size = Math.max(1, Math.ceil(target.max / blocks));
  const [group, first, own, row, place] = ["rows", "targets", "own", "row", "place"].map(freshName) as [string, string, string, string, string];
  const end = imin(target.extent, add(variable(first), int(size)));
  const exists = n.kind === "num" && n.value % width === 0 ? null : less(variable(row), n);
  const when = (body: readonly Stmt[]) => (exists ? [ifS(exists, body)] : body);
  const at = rename(index, new Map([[target.v, variable(place)]]));
  const cleared = nest.onto ? [] : when([loop(target.v, variable(first), end, [storeS(buffer, index, asReal(int(0)))])]);
  const update = [storeS(buffer, at, apply("add", "real", load(buffer, at), asReal(nest.value)))];
  const here = apply("and", "bool", apply("le", "bool", variable(first), variable(place)), less(variable(place), end));
  const apart = limits.processor || rows.some((r) => namesOf(nest.index).has(r.v));
  const walk = (): { readonly memory: readonly Stmt[]; readonly body: readonly Stmt[] } => {
    if (apart) {
      // Nothing to stage: each row has its own indices, or memory of the workgroup is memory as any other.
      const e = freshName("e");
      const names = unflatten(over, variable(e));
      return { memory: [], body: when([loop(e, int(0), count(over), [...names, letS(place, nest.index), ifS(here, update)])]) };
    }
    const { staged, loops } = inTurn(over, nest.index, variable(own), width, (i, names) => [
      letS(place, i),
      ifS(exists ? apply("and", "bool", here, exists) : here, [...names, ...update]),
    ]);
    return { memory: [allocS(staged, "workgroup")], body: [loops] };
  };
  const { memory, body } = walk();
  const each = [letS(row, add(variable(group), variable(own))), ...unflatten(order, variable(row)), ...cleared, ...body];
  const members = [...memory, loop(own, int(0), int(width), each, "local")];
  return [loop(first, int(0), target.extent, [loop(group, int(0), n, members, "workgroup", width)], "workgroup", size)];
}

function byTargets(nest: Scatter, rows: readonly Span[], limits: WgslLimits): readonly Stmt[] {
  const { buffer, index } = nest.into;
  const target = spanOf(nest.target);
  const width = Math.min(WIDTH, invocationsOf(limits));
  const [row, first, own, sum] = ["row", "targets", "own", "sum"].map(freshName) as [string, string, string, string];
  const exists = target.extent.kind === "num" && target.extent.value % width === 0 ? null : less(variable(target.v), target.extent);
  const when = (body: readonly Stmt[]) => (exists ? [ifS(exists, body)] : body);
  const { staged, loops } = inTurn(nest.over.map(spanOf), nest.index, variable(own), width, (i, names) => [
    ifS(apply("eq", "bool", i, variable(target.v)), [...names, setS(sum, apply("add", "real", local(sum, "real"), asReal(nest.value)))]),
  ]);
  const each: readonly Stmt[] = [
    letS(target.v, add(variable(first), variable(own))),
    varS(sum, asReal(int(0))),
    ...(nest.onto ? when([setS(sum, load(buffer, index))]) : []),
    loops,
    ...when([storeS(buffer, index, local(sum, "real"))]),
  ];
  const members = [allocS(staged, "workgroup"), ...unflatten(rows, variable(row)), loop(own, int(0), int(width), each, "local")];
  return [loop(row, int(0), count(rows), [loop(first, int(0), target.extent, members, "workgroup", width)], "workgroup")];
}
