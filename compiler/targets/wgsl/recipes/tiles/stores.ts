// What a row tile leaves behind: each invocation stores its own rows' results, at the columns that it has of the sums that
// they read; sums at other indices than the stores' pass through workgroup memory.
import { ifS, letS, loop, type Stmt, storeS } from "../../../../loop/ir.js";
import { count, freshName, type Span, spanOf, unflatten } from "../../../../loop/spans.js";
import { add, imod, less, mul, namesOf } from "../../../../loop/terms.js";
import { apply, type Buffer, type Expr, int, load, local, variable } from "../../../../lower/expr.js";
import type { Store, TileFold } from "../../../../lower/nest.js";
import { and, barrier, type Group, when } from "./group.js";
import type { Products } from "./products.js";

/** Every value before any store: state updated in place reads its old value. */
export function allStores(stores: readonly Store[]): readonly Stmt[] {
  if (stores.length < 2) return stores.map((s) => storeS(s.buffer, s.index, s.value));
  const names = stores.map(() => freshName("value"));
  return [
    ...stores.map((s, i) => letS(names[i] as string, s.value)),
    ...stores.map((s, i) => storeS(s.buffer, s.index, local(names[i] as string, s.value.type))),
  ];
}
const nameOf = (f: TileFold): string => f.bind[0] as string; // a sum has one component
const flat = (spans: readonly Span[]): Expr => spans.reduce<Expr>((at, s) => add(mul(at, s.extent), variable(s.v)), int(0));

export function results(g: Group, products: Products): readonly Stmt[] {
  const { demand, layout, shape, nest } = g;
  const exchange = new Map<TileFold, Buffer>();
  const out: Stmt[] = [];
  demand.sums.forEach(({ fold, columns }, i) => {
    if (!demand.exchanged.has(fold)) return;
    const memory = g.shared(`${nameOf(fold)}_all`, "f32", layout.rows, columns);
    const { total } = products.sums[i] as Products["sums"][number];
    exchange.set(fold, memory);
    const one = (r: Expr) => (n: Expr, e: Expr) => {
      const column = products.column(i, n, e);
      return [ifS(less(column, int(columns)), [storeS(memory, [g.row(r), column], load(total, [r, n, e]))])];
    };
    out.push(g.rowByRow((r) => products.eachColumn(i, one(r))));
  });
  if (exchange.size > 0) out.push(barrier);
  const firstPart = layout.parts > 1 ? apply("eq", "bool", g.part, int(0)) : null;
  for (const { n, stores } of nest.stores) {
    const roots = stores.flatMap((s) => [s.value, ...s.index]);
    const names = namesOf(...roots);
    const sums = demand.sums.flatMap(({ fold }, i) => (names.has(nameOf(fold)) ? [{ fold, i }] : []));
    const spans = n.map(spanOf);
    const columns = count(spans);
    const stored = (row: Expr): readonly Stmt[] =>
      allStores(
        stores.map((s): Store => {
          const [value, ...index] = shape.at([s.value, ...s.index], row, undefined) as readonly [Expr, ...Expr[]];
          return { buffer: s.buffer, index, value };
        }),
      );
    const rows = (only: (r: Expr) => Expr | null, body: (r: Expr, row: Expr) => readonly Stmt[]): Stmt =>
      g.rowByRow((r) => when(and(only(r), g.rowExists(g.row(r))), [...g.rowLets(roots, r), ...body(r, g.row(r))]));
    if (n.length === 0) {
      // Each row by another of its invocations.
      const turn = (r: Expr) => and(firstPart, apply("eq", "bool", g.x, imod(r, int(layout.tx))));
      out.push(rows(turn, (_, row) => stored(row)));
      continue;
    }
    const column = freshName("column");
    const own = sums[0];
    if (own && !exchange.has(own.fold)) {
      const cell = (r: Expr, row: Expr) => (group: Expr, each: Expr) => {
        const totals = sums.map(({ fold, i }) => letS(nameOf(fold), load((products.sums[i] as Products["sums"][number]).total, [r, group, each])));
        return [
          letS(column, products.column(own.i, group, each)),
          ...when(less(variable(column), columns), [...unflatten(spans, variable(column)), ...totals, ...stored(row)]),
        ];
      };
      out.push(
        rows(
          () => null,
          (r, row) => products.eachColumn(own.i, cell(r, row)),
        ),
      );
      continue;
    }
    const there = (fold: TileFold, row: Expr) => load(exchange.get(fold) as Buffer, [row, flat(fold.n.map(spanOf))]);
    out.push(
      rows(
        () => firstPart,
        (_, row) => {
          const totals = sums.map(({ fold }) => letS(nameOf(fold), there(fold, row)));
          return [loop(column, g.x, columns, [...unflatten(spans, variable(column)), ...totals, ...stored(row)], "serial", layout.tx)];
        },
      ),
    );
  }
  return out;
}
