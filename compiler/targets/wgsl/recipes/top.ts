// The k greatest of a row, one after another: in each round the lanes of the row (lanes.ts) find the greatest of what comes
// after the last one found, in the order "greater first, of equals the lower index first". No list, nothing is marked.
import { ifS, letS, loop, type Stmt, setS, storeS, varS } from "../../../loop/ir.js";
import { freshName, maxCount, spanOf } from "../../../loop/spans.js";
import { asReal, less, rename } from "../../../loop/terms.js";
import { apply, type Expr, int, local, num, variable } from "../../../lower/expr.js";
import type { Monoid, Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { alongRows, barrier, byLanes, fitting, invocationsOf, type Lanes } from "./lanes.js";

const and = (...xs: readonly Expr[]): Expr => xs.reduce((x, y) => apply("and", "bool", x, y));
const or = (x: Expr, y: Expr): Expr => apply("or", "bool", x, y);
interface Found {
  readonly value: Expr;
  /** −1: nothing. */
  readonly index: Expr;
}
const nothing = (f: Found): Expr => less(f.index, int(0));
/** Does x come before y? Both are something. */
const before = (x: Found, y: Found): Expr => or(less(y.value, x.value), and(apply("eq", "bool", x.value, y.value), less(x.index, y.index)));
/** Of two that were found. */
const greatest: Monoid = (() => {
  const of = (side: string): Found => ({ value: local(`${side}.value`, "real"), index: local(`${side}.index`, "int") });
  const [x, y] = [of("x"), of("y")];
  const second = and(apply("not", "bool", nothing(y)), or(nothing(x), before(y, x)));
  return {
    names: ["value", "index"],
    empty: [Number.NEGATIVE_INFINITY, -1],
    combine: [apply("select", "real", second, y.value, x.value), apply("select", "int", second, y.index, x.index)],
    kind: "general",
  };
})();

export function top(nest: Extract<Nest, { form: "top" }>, limits: WgslLimits): readonly Stmt[] {
  const rows = nest.rows.map(spanOf);
  const shape = alongRows(maxCount(rows), spanOf(nest.over).max, Math.min(invocationsOf(limits), fitting(2, limits)), limits);
  return byLanes(rows, shape, limits, (l) => rounds(nest, l));
}

function rounds(nest: Extract<Nest, { form: "top" }>, lanes: Lanes): readonly Stmt[] {
  const [over, slot] = [spanOf(nest.over), spanOf(nest.slot)];
  const [lastValue, lastIndex, value, index, element] = ["last_value", "last_index", "value", "index", "element"].map(freshName) as Names;
  const last: Found = { value: local(lastValue, "real"), index: local(lastIndex, "int") };
  const best: Found = { value: local(value, "real"), index: local(index, "int") };
  const here: Found = { value: local(element, "real"), index: variable(over.v) };
  const shared = lanes.shape.lanes > 1;
  /** Before the first round the last index is that of no element: all come after it. When nothing is left, nothing does. */
  const START = -2;
  const left = or(apply("eq", "bool", last.index, int(START)), and(apply("not", "bool", nothing(last)), before(last, here)));
  const results = new Map<string, Expr>([
    ["value", best.value],
    ["index", best.index],
  ]);
  const chosen = nest.chosen;
  const stores = nest.stores.map((s) => storeS(s.buffer, rename(s.index, results), rename([s.value], results)[0] as Expr));
  const marked = chosen
    ? [ifS(apply("not", "bool", nothing(best)), [storeS(chosen.buffer, rename(chosen.index, new Map([[over.v, best.index]])), num(1, "bool"))])]
    : [];
  const round: readonly Stmt[] = [
    varS(value, num(Number.NEGATIVE_INFINITY, "real")),
    varS(index, int(-1)),
    ...lanes.when(
      lanes.divided(
        [over],
        [
          letS(element, asReal(nest.element)),
          ifS(and(left, or(nothing(best), before(here, best))), [setS(value, here.value), setS(index, here.index)]),
        ],
      ),
    ),
    ...lanes.total(greatest, [value, index]),
    ...lanes.when(lanes.once([...stores, ...marked])),
    setS(lastValue, best.value),
    setS(lastIndex, best.index),
    // The next round writes where lanes may still read.
    ...(shared ? [barrier] : []),
  ];
  return [
    ...(chosen ? [...lanes.when(lanes.divided([over], [storeS(chosen.buffer, chosen.index, num(0, "bool"))])), ...(shared ? [barrier] : [])] : []),
    varS(lastValue, num(Number.NEGATIVE_INFINITY, "real")),
    varS(lastIndex, int(START)),
    loop(slot.v, int(0), slot.extent, round),
  ];
}
type Names = [string, string, string, string, string];
