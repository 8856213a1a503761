// The lanes of a tile, row by row. First what each lane computes for itself, as many lanes at a time as vectors hold: elements
// of sums, what later passes read, what the chains need that is dear. Then the row folds, eight chains whatever vectors
// hold, which states.ts takes together. Folds whose order matters run one chain through all lanes.
import { apply, type Buffer, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { TileFold } from "../../lower/nest.js";
import { bound, combined, emptyOf } from "../fold.js";
import { allocS, letS, loop, type Stmt, setS, storeS, tile, varS } from "../ir.js";
import { freshName } from "../spans.js";
import { add, imod, sub } from "../terms.js";
import { dtypeOf } from "./prepare.js";
import { LANES } from "./shape.js";
import type { Tile } from "./tile.js";
import { isProduct, type Pass, shared } from "./work.js";

export function lanes(t: Tile, p: Pass): readonly Stmt[] {
  if (p.folds.length + p.keeps.length + p.quads.length === 0) return [];
  const r = freshName("row");
  const own = [...p.keeps.map((k) => k.value as Expr), ...p.quads.flatMap((q) => [...q.index, q.value])];
  const folded = p.folds.map((f) => f.elements[0] as Expr);
  const chains = p.folds.map((f) => {
    const like = f.fold.monoid.combine[0] as Expr;
    return { ...f, memory: tile(freshName(`${f.fold.bind[0]}_chains`), dtypeOf(like), LANES), part: t.part(f.fold) };
  });
  return [
    ...chains.map((c) => allocS(c.part, "scratch")),
    t.rows(r, (from, to) => [
      ...t.s.rows.lets([...own, ...folded], variable(r)),
      ...stored(t, p, own, variable(r), from, to),
      ...(chains.length > 0 ? chained(t, chains, folded, variable(r), from, to) : []),
    ]),
  ];
}
/** What lanes compute each for itself. */
function stored(t: Tile, p: Pass, roots: readonly Expr[], r: Expr, from: Expr, to: Expr): readonly Stmt[] {
  if (roots.length === 0) return [];
  const body = (l: Expr): readonly Stmt[] => {
    const cse = shared(t.shape.at(roots, r, l), "v");
    const [keeps, quads] = [cse.roots.slice(0, p.keeps.length), [...cse.roots.slice(p.keeps.length)]];
    return [
      ...t.laneLets(roots, r, l),
      ...cse.lets.map(([name, e]) => letS(name, e)),
      ...p.keeps.map((k, i) => storeS(k.tile as Buffer, [r, l], keeps[i] as Expr)),
      ...p.quads.map((q) => {
        const [index, value] = [quads.splice(0, q.index.length), quads.shift() as Expr];
        return storeS(q.buffer, index, value);
      }),
    ];
  };
  // Columns sum over all rows of the tile: what is not computed is 0 there.
  const zeroed = t.ranges ? p.keeps.filter((k) => t.work.passes.some((x) => x.columns.some((c) => c.element === k))) : [];
  const zero = (a: Expr, b: Expr): readonly Stmt[] =>
    zeroed.length > 0 ? t.strips(a, b, (l) => zeroed.map((k) => storeS(k.tile as Buffer, [r, l], num(0, "real")))) : [];
  return [...zero(int(0), from), ...t.strips(from, to, body), ...zero(apply("max", "int", from, to), t.width)];
}
interface Chain {
  readonly fold: TileFold;
  /** Eight values of the present row, and those of each row of the tile. */
  readonly memory: Buffer;
  readonly part: Buffer;
}
function chained(t: Tile, chains: readonly Chain[], elements: readonly Expr[], r: Expr, from: Expr, to: Expr): readonly Stmt[] {
  const body = (l: Expr, slot: Expr): readonly Stmt[] => {
    const cse = shared(t.shape.at(elements, r, l), "v");
    return [
      ...t.laneLets(elements, r, l),
      ...cse.lets.map(([name, e]) => letS(name, e)),
      ...chains.map((c, i) => {
        const next = combined(productKept(c.fold, elements[i]), [load(c.memory, [slot])], [cse.roots[i] as Expr]);
        return storeS(c.memory, [slot], next[0] as Expr);
      }),
    ];
  };
  const vector = (f: (v: Expr) => readonly Stmt[]): Stmt => {
    const v = freshName("lane");
    return loop(v, int(0), int(LANES), f(variable(v)), "vector");
  };
  const [lane, rest] = [freshName("lane"), freshName("lane")];
  // Where all tiles are whole, lanes end at a multiple of eight.
  const even = t.width.kind === "num";
  const whole = even ? to : sub(to, imod(to, int(LANES)));
  return [
    ...chains.flatMap((c) => [allocS(c.memory, "private"), vector((v) => [storeS(c.memory, [v], emptyOf(c.fold.monoid)[0] as Expr)])]),
    loop(lane, from, whole, [vector((v) => body(add(variable(lane), v), v))], "serial", LANES),
    ...(even ? [] : [loop(rest, apply("max", "int", from, whole), to, body(variable(rest), sub(variable(rest), whole)))]),
    ...chains.map((c) => vector((v) => [storeS(c.part, [r, v], load(c.memory, [v]))])),
  ];
}

/** Folds whose order matters: one chain over all lanes of all tiles. */
export function chains(t: Tile, p: Pass): readonly Stmt[] {
  const { rows } = t.s;
  return p.chains.flatMap(({ fold, elements }) => {
    const [r, l] = [freshName("row"), freshName("lane")];
    const names = fold.bind.map((b) => freshName(`${b}_chain`));
    const next = names.map((n) => freshName(`${n}_next`));
    const state = fold.bind.map((b, c) => rows.hold(b, fold.monoid.combine[c] as Expr));
    const former = fold.bind.map((b, c) => t.former(b, fold.monoid.combine[c] as Expr));
    const acc = bound(fold.monoid, names);
    const now = combined(fold.monoid, acc, t.shape.at(elements, variable(r), variable(l)));
    if (fold.rescale) throw new Error(`fold ${fold.bind.join(", ")} is chained and cannot be rescaled`);
    return [
      t.rows(r, (from, to) => [
        ...rows.lets(elements, variable(r)),
        ...names.map((n, c) => varS(n, load(state[c] as Buffer, [variable(r)]))),
        ...former.flatMap((b, c) => (b ? [storeS(b, [variable(r)], acc[c] as Expr)] : [])),
        loop(l, from, to, [
          ...t.laneLets(elements, variable(r), variable(l)),
          ...now.map((e, c) => letS(next[c] as string, e)),
          ...names.map((n, c) => setS(n, local(next[c] as string, (now[c] as Expr).type))),
        ]),
        ...state.map((b, c) => storeS(b, [variable(r)], acc[c] as Expr)),
      ]),
    ];
  });
}
/** A sum of products is an fma chain: as its element is written, whatever a tile without a mask simplifies it to. */
const productKept = (f: TileFold, element: Expr | undefined) =>
  isProduct(f.elements[0] as Expr) || !element || !isProduct(element) ? f.monoid : { ...f.monoid, kind: "general" as const };
