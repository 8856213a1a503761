// The k greatest of a row: a list kept in order by insertion. An element enters only where it beats the least, so that
// most cost one comparison. Ties keep the lower index, since a later equal never beats.
import { apply, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { Nest } from "../../lower/nest.js";
import { allocS, ifS, letS, loop, type Stmt, storeS, tile } from "../ir.js";
import { freshName, overThreads, spanOf } from "../spans.js";
import { add, asReal, less, rename, sub } from "../terms.js";

/** Lists longer than this live in the thread's scratch memory. */
const PRIVATE = 64;

export function top(nest: Nest & { form: "top" }): readonly Stmt[] {
  const over = spanOf(nest.over);
  const slot = spanOf(nest.slot);
  const size = Math.max(1, slot.max);
  const [values, places] = [tile("top_value", "f32", size), tile("top_index", "i32", size)];
  const space = size > PRIVATE ? "scratch" : "private";
  const [s, back, element] = [freshName("slot"), freshName("back"), freshName("element")];
  const i = variable(over.v);
  const p = sub(sub(slot.extent, int(1)), variable(back));
  const candidate = local(element, "real");
  const beats = (at: Expr): Expr => apply("or", "bool", less(load(places, [at]), int(0)), apply("gt", "bool", candidate, load(values, [at])));
  const next = add(p, int(1));
  const insert: readonly Stmt[] = [
    ifS(beats(p), [
      ifS(less(next, slot.extent), [storeS(values, [next], load(values, [p])), storeS(places, [next], load(places, [p]))]),
      storeS(values, [p], candidate),
      storeS(places, [p], i),
    ]),
  ];
  const results = new Map<string, Expr>([
    ["value", load(values, [variable(slot.v)])],
    ["index", load(places, [variable(slot.v)])],
  ]);
  const chosen = (): readonly Stmt[] => {
    if (!nest.chosen) return [];
    const { buffer, index } = nest.chosen;
    const at = rename(index, new Map([[over.v, load(places, [variable(slot.v)])]]));
    return [
      loop(over.v, int(0), over.extent, [storeS(buffer, index, num(0, "bool"))]),
      loop(slot.v, int(0), slot.extent, [ifS(less(int(-1), load(places, [variable(slot.v)])), [storeS(buffer, at, num(1, "bool"))])]),
    ];
  };
  return overThreads(nest.rows.map(spanOf), [
    allocS(values, space),
    allocS(places, space),
    loop(s, int(0), slot.extent, [storeS(values, [variable(s)], num(-Infinity, "real")), storeS(places, [variable(s)], int(-1))]),
    loop(over.v, int(0), over.extent, [
      letS(element, asReal(nest.element)),
      ifS(less(int(0), slot.extent), [ifS(beats(sub(slot.extent, int(1))), [loop(back, int(0), slot.extent, insert)])]),
    ]),
    loop(
      slot.v,
      int(0),
      slot.extent,
      nest.stores.map((st) => storeS(st.buffer, rename(st.index, results), rename([st.value], results)[0] as Expr)),
    ),
    ...chosen(),
  ]);
}
