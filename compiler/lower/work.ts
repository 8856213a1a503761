// How much a nest does in one call: arithmetic and memory, as its index notation states them. Nominal figures, to set a
// measured time against: an operation is any real primitive (fma of a contraction counts two, exp one), a masked
// element counts in full, and memory is what must be read and written at least once however it is blocked.
import { type Buffer, type Expr, maxOf, partsOf } from "./expr.js";
import { axesOf, bytesOf, expressionsOf, loadsOf, storesOf } from "./memory.js";
import type { Axis, Nest, Store } from "./nest.js";

export interface Work {
  readonly operations: number;
  readonly bytes: number;
}

const trips = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * maxOf(a.extent), 1);
/** Real primitives in these expressions, common ones once. */
function operations(roots: readonly Expr[]): number {
  const seen = new Set<Expr>();
  const todo = [...roots];
  let count = 0;
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "call" && e.type === "real" && e.prim !== "toReal") count++;
    todo.push(...partsOf(e));
  }
  return count;
}
const values = (stores: readonly Store[]) => stores.map((s) => s.value);

function operationsOf(n: Nest): number {
  switch (n.form) {
    case "map":
      return trips(n.axes) * operations(values(n.stores));
    case "contract": {
      const [batch, m, nn, k] = [trips(n.batch), trips(n.m), trips(n.n), trips(n.k)];
      return batch * (2 * m * nn * k + m * k * operations([n.a]) + nn * k * operations([n.b]) + m * nn * operations(values(n.stores)));
    }
    case "row": {
      let each = 0;
      for (const s of n.stages) {
        if (s.stage === "map") each += trips(s.axes) * operations(values(s.stores));
        else {
          const over = s.stage === "fold" ? trips(s.over) : trips([s.over]);
          each += over * operations([...s.elements, ...s.monoid.combine, ...(s.stage === "scan" ? values(s.stores) : [])]);
        }
      }
      return trips(n.rows) * each;
    }
    case "tiles": {
      const pairs = trips(n.batch) * trips(n.rows) * trips(n.over);
      const inner = n.dots.reduce((sum, d) => sum + 2 * trips(d.k), 0) + n.folds.reduce((sum, f) => sum + 2 * trips(f.b ? f.n : []), 0);
      const columns = n.columns.reduce((sum, c) => sum + 2 * trips(c.n), 0);
      const each = operations([...n.folds.flatMap((f) => f.elements), ...n.columns.map((c) => c.element), ...values(n.quads)]);
      const ends = n.stores.reduce((sum, s) => sum + trips(s.n) * operations(values(s.stores)), 0);
      return pairs * (inner + columns + each) + trips(n.batch) * trips(n.rows) * ends;
    }
    case "scatter":
      return trips(n.rows) * trips(n.over) * (1 + operations([n.value]));
    case "top":
      return trips(n.rows) * maxOf(n.over.extent) * operations([n.element]);
  }
}

/** Whether an index moves while the nest runs: an enclosing loop's counter stands still. */
function moves(index: Expr, own: ReadonlySet<string>): boolean {
  const todo = [index];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if ((e.kind === "var" && own.has(e.name)) || e.kind === "local" || e.kind === "random") return true;
    todo.push(...partsOf(e));
  }
  return false;
}

export function workOf(n: Nest): Work {
  const own = new Set(axesOf(n).map((a) => a.v));
  const part = (b: Buffer, index: readonly Expr[]) =>
    b.axes.reduce((bytes, a, i) => (moves(index[i] as Expr, own) ? bytes : bytes / Math.max(1, maxOf(a.extent))), bytesOf(b));
  const most = (accesses: readonly { readonly buffer: Buffer; readonly index: readonly Expr[] }[]) => {
    const by = new Map<Buffer, number>();
    for (const { buffer, index } of accesses) by.set(buffer, Math.max(by.get(buffer) ?? 0, part(buffer, index)));
    return [...by.values()].reduce((a, b) => a + b, 0);
  };
  return { operations: operationsOf(n), bytes: most(loadsOf(expressionsOf(n))) + most(storesOf(n)) };
}
