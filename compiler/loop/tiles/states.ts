// What a pass makes of the state of all rows, eight rows at a time: the chains of a row are turned, so that rows are lanes,
// and combined; what was folded so far is rescaled where a result that its elements read has changed.
import { apply, type Expr, int, load, local, num } from "../../lower/expr.js";
import type { TileFold } from "../../lower/nest.js";
import { combined } from "../fold.js";
import { useS } from "../instructions.js";
import { allocS, letS, type Place, type Stmt, storeS, tile } from "../ir.js";
import { freshName } from "../spans.js";
import { namesOf } from "../terms.js";
import { LANES } from "./shape.js";
import type { Tile } from "./tile.js";
import type { Pass } from "./work.js";

export function update(t: Tile, p: Pass): readonly Stmt[] {
  if (p.folds.length === 0) return [];
  const { rows } = t.s;
  const turned = p.folds.map(({ fold }) => {
    const part = t.part(fold);
    return part.axes.length > 0 && part.dtype === "f32" ? tile(freshName(`${fold.bind[0]}_turned`), "f32", LANES, LANES) : undefined;
  });
  return t.eachRow(
    (first) =>
      p.folds.flatMap(({ fold }, i) => {
        const to = turned[i];
        if (!to) return [];
        const places: Place[] = [
          { buffer: t.part(fold), index: [first, int(0)] },
          { buffer: to, index: [int(0), int(0)] },
        ];
        return [allocS(to, "private"), useS("transpose8", places, [int(LANES)])];
      }),
    (row, lane) => [
      ...rows.lets(
        p.folds.flatMap(({ fold }) => (fold.rescale ? [fold.rescale] : [])),
        row,
      ),
      ...p.folds.flatMap(({ fold }, i) => {
        const { monoid } = fold;
        const name = fold.bind[0] as string;
        const like = monoid.combine[0] as Expr;
        const state = rows.hold(name, like);
        const out: Stmt[] = [];
        // Chain l takes in chain l + 4, then l + 2, then l + 1.
        const to = turned[i];
        let level: readonly Expr[] = Array.from({ length: LANES }, (_, c) => (to ? load(to, [int(c), lane]) : load(t.part(fold), [row, int(c)])));
        while (level.length > 1) {
          const half = level.length / 2;
          const next: Expr[] = [];
          for (let c = 0; c < half; c++) {
            const t = freshName(`${name}_tree`);
            out.push(letS(t, combined({ ...monoid, kind: "general" }, [level[c] as Expr], [level[c + half] as Expr])[0] as Expr));
            next.push(local(t, like.type));
          }
          level = next;
        }
        const old = freshName(`${name}_old`);
        const before = local(old, like.type);
        const former = t.former(name, like);
        out.push(letS(old, load(state, [row])));
        if (former) out.push(storeS(former, [row], before));
        const now = combined({ ...monoid, kind: "general" }, [rescaled(fold, before)], [level[0] as Expr])[0] as Expr;
        return [...out, storeS(state, [row], now)];
      }),
    ],
  );
}
/** What the next pass reads of a row alone: values over results, and the factors of sums. */
export function rowValues(t: Tile, p: Pass): readonly Stmt[] {
  const { rows } = t.s;
  const factors = (t.work.passes[p.level + 1]?.sums ?? []).flatMap(({ fold }) =>
    fold.rescale ? [{ name: factorOf(fold), value: rescaled({ ...fold, monoid: fold.monoid }, num(1, "real")) }] : [],
  );
  const all = [...p.rowValues, ...factors];
  if (all.length === 0) return [];
  const values = all.map((v) => v.value);
  return t.eachRow(
    () => [],
    (row) => [...rows.lets(values, row), ...all.map((v) => storeS(rows.hold(v.name, v.value), [row], v.value))],
  );
}

/** Whether results that a fold's elements read differ from those when it was last brought up to date. */
function changed(rescale: Expr): Expr {
  const was = [...namesOf(rescale)].filter((n) => n.startsWith("was."));
  const now = was.map((n) => apply("ne", "bool", local(n, "real"), local(n.slice(4), "real")));
  return now.length > 0 ? now.reduce((a, b) => apply("or", "bool", a, b)) : num(1, "bool");
}
/** What was folded so far, brought up to date with the results that the elements read. */
export function rescaled(f: TileFold, state: Expr): Expr {
  if (!f.rescale) return state;
  const by = f.monoid.kind === "sum" ? "mul" : f.monoid.kind === "max" || f.monoid.kind === "min" ? "add" : undefined;
  if (!by) throw new Error(`a ${f.monoid.kind} cannot be rescaled`);
  return apply("select", "real", changed(f.rescale), apply(by, "real", state, f.rescale), state);
}
/** The local that holds what a row's sums are rescaled by. */
export const factorOf = (f: TileFold) => `factor.${f.bind[0]}`;
