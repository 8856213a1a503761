// The lanes of a tile: for each row the elements of its pass, eight lanes at a time. Row folds run eight chains, which
// states.ts takes together; elements of sums and what later passes read are stored. Folds whose order matters run one
// chain through all lanes.
import { apply, type Buffer, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { TileFold } from "../../lower/nest.js";
import { bound, combined, emptyOf } from "../fold.js";
import { allocS, letS, loop, type Stmt, setS, storeS, tile, varS } from "../ir.js";
import { freshName } from "../spans.js";
import { add, imod, sub } from "../terms.js";
import { dtypeOf } from "./prepare.js";
import { LANES } from "./shape.js";
import type { Tile } from "./tile.js";
import { type Pass, shared } from "./work.js";

export function lanes(t: Tile, p: Pass): readonly Stmt[] {
  if (p.folds.length + p.keeps.length + p.quads.length === 0) return [];
  const r = freshName("row");
  const chains = p.folds.map((f) => {
    const like = f.fold.monoid.combine[0] as Expr;
    return { ...f, memory: tile(freshName(`${f.fold.bind[0]}_chains`), dtypeOf(like), LANES), part: t.part(f.fold) };
  });
  const roots = [
    ...p.keeps.map((k) => k.value as Expr),
    ...p.folds.map((f) => f.elements[0] as Expr),
    ...p.quads.flatMap((q) => [...q.index, q.value]),
  ];
  const body = (l: Expr, slot: Expr): readonly Stmt[] => {
    const at = t.shape.at(roots, variable(r), l);
    const cse = shared(at, "v");
    const [keeps, rest] = [cse.roots.slice(0, p.keeps.length), cse.roots.slice(p.keeps.length)];
    const [elements, quads] = [rest.slice(0, p.folds.length), [...rest.slice(p.folds.length)]];
    return [
      ...t.laneLets(roots, variable(r), l),
      ...cse.lets.map(([name, e]) => letS(name, e)),
      ...chains.map((c, i) => {
        const next = combined(productKept(c.fold, p.folds[i]?.elements[0]), [load(c.memory, [slot])], [elements[i] as Expr]);
        return storeS(c.memory, [slot], next[0] as Expr);
      }),
      ...p.keeps.map((k, i) => storeS(k.tile as Buffer, [variable(r), l], keeps[i] as Expr)),
      ...p.quads.map((q) => {
        const [index, value] = [quads.splice(0, q.index.length), quads.shift() as Expr];
        return storeS(q.buffer, index, value);
      }),
    ];
  };
  const vector = (stem: string, f: (v: Expr) => readonly Stmt[]): Stmt => {
    const v = freshName(stem);
    return loop(v, int(0), int(LANES), f(variable(v)), "vector");
  };
  const lane8 = freshName("lane");
  const [q, before, behind] = [freshName("lane"), freshName("lane"), freshName("lane")];
  // Columns sum over all rows of the tile: what is not computed is 0 there.
  const zeroed = t.ranges ? p.keeps.filter((k) => t.work.passes.some((x) => x.columns.some((c) => c.element === k))) : [];
  const zero = (v: string, from: Expr, to: Expr): readonly Stmt[] =>
    zeroed.length === 0
      ? []
      : [
          loop(
            v,
            from,
            to,
            zeroed.map((k) => storeS(k.tile as Buffer, [variable(r), variable(v)], num(0, "real"))),
            "vector",
          ),
        ];
  return [
    ...chains.map((c) => allocS(c.part, "scratch")),
    t.rows(r, (from, to) => {
      // Where all tiles are whole, lanes end at a multiple of eight.
      const even = t.width.kind === "num";
      const whole = even ? to : sub(to, imod(to, int(LANES)));
      return [
        ...t.s.rows.lets(roots, variable(r)),
        ...chains.flatMap((c) => [allocS(c.memory, "private"), vector("lane", (v) => [storeS(c.memory, [v], emptyOf(c.fold.monoid)[0] as Expr)])]),
        ...zero(before, int(0), from),
        loop(lane8, from, whole, [vector("lane", (v) => body(add(variable(lane8), v), v))], "serial", LANES),
        ...(even ? [] : [loop(q, apply("max", "int", from, whole), to, body(variable(q), sub(variable(q), whole)))]),
        ...zero(behind, apply("max", "int", from, to), t.width),
        ...chains.map((c) => vector("lane", (v) => [storeS(c.part, [variable(r), v], load(c.memory, [v]))])),
      ];
    }),
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
const productKept = (f: TileFold, element: Expr | undefined) => {
  const product = (e: Expr | undefined) => e?.kind === "call" && e.prim === "mul" && e.type === "real";
  return product(f.elements[0]) || !product(element) ? f.monoid : { ...f.monoid, kind: "general" as const };
};
