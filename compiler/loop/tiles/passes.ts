// The loops of one tile: dots by the register block; then pass after pass the lanes of each row, what their folds make of the
// state of all rows (eight rows at a time, their chains turned so that rows are lanes), and the sums: accumulators are
// rescaled where a result that their elements read has changed, and take in the tile by the register block.
import { apply, type Buffer, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { TileColumn, TileFold } from "../../lower/nest.js";
import { bound, CHUNK, combined, emptyOf } from "../fold.js";
import { useS } from "../instructions.js";
import { allocS, ifS, letS, loop, type Place, type Stmt, setS, storeS, tile, varS } from "../ir.js";
import { count, freshName, spanOf } from "../spans.js";
import { add, imin, imod, namesOf, sub } from "../terms.js";
import type { ColumnTarget } from "./columns.js";
import { type LaneRanges, laneRanges } from "./mask.js";
import { dtypeOf, type Operand, type OverSide, type Panel } from "./prepare.js";
import type { RowSide } from "./rows.js";
import { COLUMNS, LANES, OVER_TILE, packedSize, padded, ROWS, type Shape } from "./shape.js";
import { type Kept, type Pass, shared, type TileWork } from "./work.js";

/** Everything that is the same for all tiles. */
export interface Surroundings {
  readonly shape: Shape;
  readonly over: OverSide;
  readonly rows: RowSide;
  readonly dots: readonly { readonly name: string; readonly panel: Panel; readonly a: Buffer }[];
  readonly operands: ReadonlyMap<TileFold, Operand>;
  readonly columns: ReadonlyMap<TileColumn, ColumnTarget>;
}

/** The loops of a tile; `full`: all of its 64 lanes are there and inside the mask. */
export function tileLoops(s: Surroundings, work: TileWork, full: boolean): readonly Stmt[] {
  const ranges = full ? undefined : laneRanges(s.shape, s.over, s.rows);
  const t = new TileLoops(s, work, full, ranges);
  return [...(ranges?.loops ?? []), ...t.dots(), ...work.passes.flatMap((p) => t.pass(p))];
}

class TileLoops {
  readonly #shape: Shape;
  readonly #width: Expr;
  constructor(
    readonly s: Surroundings,
    readonly work: TileWork,
    readonly full: boolean,
    readonly ranges: LaneRanges | undefined,
  ) {
    this.#shape = s.shape;
    this.#width = full ? int(OVER_TILE) : s.shape.width;
  }

  /** `body` for each group of rows of a register block, with the lanes that are computed of it. */
  #groups(body: (first: Expr, from: Expr, to: Expr) => readonly Stmt[]): Stmt {
    const g = freshName("rows");
    const { ranges } = this;
    if (!ranges) return loop(g, int(0), this.#shape.rows, body(variable(g), int(0), this.#width), "serial", ROWS);
    const [from, to] = [freshName("from"), freshName("to")];
    const inner = body(variable(g), local(from, "int"), local(to, "int"));
    const lets = [letS(from, ranges.from(variable(g))), letS(to, ranges.to(variable(g)))];
    return loop(g, int(0), this.#shape.rows, [...lets, ...inner], "serial", ROWS);
  }
  /** `body` for each row, with the lanes that are computed of it. */
  #rows(r: string, body: (from: Expr, to: Expr) => readonly Stmt[]): Stmt {
    if (!this.ranges) return loop(r, int(0), this.#shape.rows, body(int(0), this.#width));
    return this.#groups((first, from, to) => [loop(r, first, imin(add(first, int(ROWS)), this.#shape.rows), body(from, to))]);
  }

  dots(): readonly Stmt[] {
    const { rows } = this.#shape;
    return this.s.dots.map(({ name, panel, a }) => {
      const c = (this.work.dots.get(name) as Kept).tile as Buffer;
      const K = count(panel.k);
      const [j, i, k0] = [freshName("lane"), freshName("row"), freshName("k")];
      const depthMax = panel.k.reduce((n, x) => n * x.max, 1);
      const chunked = depthMax > CHUNK;
      const from = chunked ? variable(k0) : int(0);
      const depth = chunked ? imin(int(CHUNK), sub(K, from)) : K;
      const block = useS(
        "block",
        [
          { buffer: a, index: [variable(i), from] },
          { buffer: panel.buffer, index: panel.at(from, variable(j)) },
          { buffer: c, index: [variable(i), variable(j)] },
        ],
        [
          imin(int(ROWS), sub(rows, variable(i))),
          depth,
          int(Math.max(1, depthMax)),
          int(1),
          int(OVER_TILE),
          int(OVER_TILE),
          chunked ? apply("gt", "bool", from, int(0)) : int(0),
        ],
      );
      // All of a panel's columns pass by for as long as they stay in L1: rows are the inner loop, where all have the same lanes.
      const blocks = this.ranges
        ? this.#groups((first, lo, hi) => [letS(i, first), loop(j, sub(lo, imod(lo, int(COLUMNS))), hi, [block], "serial", COLUMNS)])
        : loop(j, int(0), this.#width, [loop(i, int(0), rows, [block], "serial", ROWS)], "serial", COLUMNS);
      return chunked ? loop(k0, int(0), apply("max", "int", K, int(1)), [blocks], "serial", CHUNK) : blocks;
    });
  }

  pass(p: Pass): readonly Stmt[] {
    return [...this.#lanes(p), ...this.#update(p), ...this.#chains(p), ...this.#rowValues(p), ...this.#sums(p), ...this.#columns(p)];
  }

  // Lanes -----------------------------------------------------------------------------------------------------------

  readonly #parts = new Map<string, Buffer>();
  /** Eight chains of each row. */
  #part(f: TileFold): Buffer {
    const name = f.bind[0] as string;
    const b = this.#parts.get(name) ?? tile(freshName(`${name}_part`), dtypeOf(f.monoid.combine[0] as Expr), this.#shape.rowTile, LANES);
    this.#parts.set(name, b);
    return b;
  }
  /** Brings what terms read of tiles and lanes into scope. */
  #laneLets(roots: readonly Expr[], r: Expr, l: Expr): readonly Stmt[] {
    const out: Stmt[] = [];
    const names = namesOf(...roots);
    for (const n of names) {
      const k = this.work.kept.get(n);
      if (k?.tile) out.push(letS(n, load(k.tile, [r, l])));
      const e = this.s.over.locals.get(n);
      if (e) out.push(letS(n, this.#shape.one(e, undefined, l)));
    }
    return out;
  }
  #lanes(p: Pass): readonly Stmt[] {
    if (p.folds.length + p.keeps.length + p.quads.length === 0) return [];
    const r = freshName("row");
    const chains = p.folds.map((f) => {
      const like = f.fold.monoid.combine[0] as Expr;
      return { ...f, memory: tile(freshName(`${f.fold.bind[0]}_chains`), dtypeOf(like), LANES), part: this.#part(f.fold) };
    });
    const roots = [
      ...p.keeps.map((k) => k.value as Expr),
      ...p.folds.map((f) => f.elements[0] as Expr),
      ...p.quads.flatMap((q) => [...q.index, q.value]),
    ];
    const body = (l: Expr, slot: Expr): readonly Stmt[] => {
      const at = this.#shape.at(roots, variable(r), l);
      const cse = shared(at, "v");
      const [keeps, rest] = [cse.roots.slice(0, p.keeps.length), cse.roots.slice(p.keeps.length)];
      const [elements, quads] = [rest.slice(0, p.folds.length), [...rest.slice(p.folds.length)]];
      return [
        ...this.#laneLets(roots, variable(r), l),
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
    const zeroed = this.ranges ? p.keeps.filter((k) => p.columns.some((c) => c.element === k)) : [];
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
      this.#rows(r, (from, to) => {
        const whole = this.full ? int(OVER_TILE) : sub(to, imod(to, int(LANES)));
        return [
          ...this.s.rows.lets(roots, variable(r)),
          ...chains.flatMap((c) => [allocS(c.memory, "private"), vector("lane", (v) => [storeS(c.memory, [v], emptyOf(c.fold.monoid)[0] as Expr)])]),
          ...zero(before, int(0), from),
          loop(lane8, from, whole, [vector("lane", (v) => body(add(variable(lane8), v), v))], "serial", LANES),
          ...(this.full ? [] : [loop(q, apply("max", "int", from, whole), to, body(variable(q), sub(variable(q), whole)))]),
          ...zero(behind, apply("max", "int", from, to), this.#width),
          ...chains.map((c) => vector("lane", (v) => [storeS(c.part, [variable(r), v], load(c.memory, [v]))])),
        ];
      }),
    ];
  }

  // Rows ------------------------------------------------------------------------------------------------------------

  /** `body(row)` for all rows, eight at a time; rows past the last are computed and never read. */
  #eachRow(before: (first: Expr) => readonly Stmt[], body: (row: Expr, lane: Expr) => readonly Stmt[]): readonly Stmt[] {
    const [g, r] = [freshName("rows"), freshName("row")];
    return [
      loop(
        g,
        int(0),
        this.#shape.rows,
        [...before(variable(g)), loop(r, int(0), int(LANES), body(add(variable(g), variable(r)), variable(r)), "vector")],
        "serial",
        LANES,
      ),
    ];
  }
  /** Whether results that a fold's elements read differ from those when it was last brought up to date. */
  #changed(rescale: Expr): Expr {
    const was = [...namesOf(rescale)].filter((n) => n.startsWith("was."));
    const now = was.map((n) => apply("ne", "bool", local(n, "real"), local(n.slice(4), "real")));
    return now.length > 0 ? now.reduce((a, b) => apply("or", "bool", a, b)) : num(1, "bool");
  }
  /** Memory for a result's former value, if something is rescaled by its change. */
  #former(bind: string, like: Expr): Buffer | undefined {
    const name = `was.${bind}`;
    const read = this.#shape.nest.folds.some((x) => x.rescale && namesOf(x.rescale).has(name));
    return read ? this.s.rows.hold(name, like) : undefined;
  }
  #rescaled(f: TileFold, state: Expr): Expr {
    if (!f.rescale) return state;
    const by = f.monoid.kind === "sum" ? "mul" : f.monoid.kind === "max" || f.monoid.kind === "min" ? "add" : undefined;
    if (!by) throw new Error(`a ${f.monoid.kind} cannot be rescaled`);
    return apply("select", "real", this.#changed(f.rescale), apply(by, "real", state, f.rescale), state);
  }
  #update(p: Pass): readonly Stmt[] {
    if (p.folds.length === 0) return [];
    const { rows } = this.s;
    const turned = p.folds.map(({ fold }) => {
      const part = this.#part(fold);
      return part.axes.length > 0 && part.dtype === "f32" ? tile(freshName(`${fold.bind[0]}_turned`), "f32", LANES, LANES) : undefined;
    });
    return this.#eachRow(
      (first) =>
        p.folds.flatMap(({ fold }, i) => {
          const to = turned[i];
          if (!to) return [];
          const places: Place[] = [
            { buffer: this.#part(fold), index: [first, int(0)] },
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
          let level: readonly Expr[] = Array.from({ length: LANES }, (_, c) =>
            to ? load(to, [int(c), lane]) : load(this.#part(fold), [row, int(c)]),
          );
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
          const former = this.#former(name, like);
          out.push(letS(old, load(state, [row])));
          if (former) out.push(storeS(former, [row], before));
          const now = combined({ ...monoid, kind: "general" }, [this.#rescaled(fold, before)], [level[0] as Expr])[0] as Expr;
          return [...out, storeS(state, [row], now)];
        }),
      ],
    );
  }
  /** Folds whose order matters: one chain over all lanes of all tiles. */
  #chains(p: Pass): readonly Stmt[] {
    const { rows } = this.s;
    return p.chains.flatMap(({ fold, elements }) => {
      const [r, l] = [freshName("row"), freshName("lane")];
      const names = fold.bind.map((b) => freshName(`${b}_chain`));
      const next = names.map((n) => freshName(`${n}_next`));
      const state = fold.bind.map((b, c) => rows.hold(b, fold.monoid.combine[c] as Expr));
      const former = fold.bind.map((b, c) => this.#former(b, fold.monoid.combine[c] as Expr));
      const acc = bound(fold.monoid, names);
      const now = combined(fold.monoid, acc, this.#shape.at(elements, variable(r), variable(l)));
      if (fold.rescale) throw new Error(`fold ${fold.bind.join(", ")} is chained and cannot be rescaled`);
      return [
        this.#rows(r, (from, to) => [
          ...rows.lets(elements, variable(r)),
          ...names.map((n, c) => varS(n, load(state[c] as Buffer, [variable(r)]))),
          ...former.flatMap((b, c) => (b ? [storeS(b, [variable(r)], acc[c] as Expr)] : [])),
          loop(l, from, to, [
            ...this.#laneLets(elements, variable(r), variable(l)),
            ...now.map((e, c) => letS(next[c] as string, e)),
            ...names.map((n, c) => setS(n, local(next[c] as string, (now[c] as Expr).type))),
          ]),
          ...state.map((b, c) => storeS(b, [variable(r)], acc[c] as Expr)),
        ]),
      ];
    });
  }
  /** What the next pass reads of a row alone: values over results, and the factors of sums. */
  #rowValues(p: Pass): readonly Stmt[] {
    const { rows } = this.s;
    const factors = (this.work.passes[p.level + 1]?.sums ?? []).flatMap(({ fold }) =>
      fold.rescale ? [{ name: factorOf(fold), value: this.#rescaled({ ...fold, monoid: fold.monoid }, num(1, "real")) }] : [],
    );
    const all = [...p.rowValues, ...factors];
    if (all.length === 0) return [];
    const values = all.map((v) => v.value);
    return this.#eachRow(
      () => [],
      (row) => [...rows.lets(values, row), ...all.map((v) => storeS(rows.hold(v.name, v.value), [row], v.value))],
    );
  }

  // Sums ------------------------------------------------------------------------------------------------------------

  #sums(p: Pass): readonly Stmt[] {
    const { rows } = this.s;
    return p.sums.flatMap(({ fold, element, at }) => {
      const n = fold.n.map(spanOf);
      const columns = padded(packedSize(n), COLUMNS);
      const sums = rows.sums(fold);
      const [r, c] = [freshName("row"), freshName("column")];
      const out: Stmt[] = [];
      if (fold.rescale) {
        const factor = local(factorOf(fold), "real");
        const here: Place = { buffer: sums, index: [variable(r), variable(c)] };
        out.push(
          loop(r, int(0), this.#shape.rows, [
            ...rows.lets([factor], variable(r)),
            ifS(apply("ne", "bool", factor, num(1, "real")), [
              loop(c, int(0), int(columns), [storeS(here.buffer, here.index, apply("mul", "real", load(sums, here.index), factor))], "vector"),
            ]),
          ]),
        );
      }
      if (at) return [...out, this.#scattered(fold, element, at, sums)];
      const b = this.s.operands.get(fold) as Operand; // every sum has an operand or an index
      const [j, i] = [freshName("column"), freshName("row")];
      const block = (from: Expr, depth: Expr): Stmt =>
        useS(
          "block",
          [
            { buffer: element.tile as Buffer, index: [variable(i), from] },
            b.place(from, variable(j)),
            { buffer: sums, index: [variable(i), variable(j)] },
          ],
          [imin(int(ROWS), sub(this.#shape.rows, variable(i))), depth, int(OVER_TILE), int(1), int(b.stride), int(columns), int(1)],
        );
      const columnsOf = (body: Stmt): Stmt => loop(j, int(0), int(b.columns), [body], "serial", COLUMNS);
      if (!this.ranges) return [...out, columnsOf(loop(i, int(0), this.#shape.rows, [block(int(0), this.#width)], "serial", ROWS))];
      const some = (from: Expr, to: Expr) => ifS(apply("lt", "bool", from, to), [columnsOf(block(from, sub(to, from)))]);
      return [...out, this.#groups((first, from, to) => [letS(i, first), some(from, to)])];
    });
  }
  #scattered(fold: TileFold, element: Kept, at: Expr, sums: Buffer): Stmt {
    const [r, l, place] = [freshName("row"), freshName("lane"), freshName("place")];
    const n = fold.n.map(spanOf)[0];
    if (!n || fold.n.length !== 1) throw new Error(`fold ${fold.bind.join(", ")} has an index and not one axis`);
    const here = local(place, "int");
    const inside = apply("and", "bool", apply("le", "bool", int(0), here), apply("lt", "bool", here, n.extent));
    const value = load(element.tile as Buffer, [variable(r), variable(l)]);
    return this.#rows(r, (from, to) => [
      ...this.s.rows.lets([at], variable(r)),
      loop(l, from, to, [
        ...this.#laneLets([at], variable(r), variable(l)),
        letS(place, this.#shape.one(at, variable(r), variable(l))),
        ifS(inside, [storeS(sums, [variable(r), here], apply("add", "real", load(sums, [variable(r), here]), value))]),
      ]),
    ]);
  }
  #columns(p: Pass): readonly Stmt[] {
    const { rows } = this.#shape;
    return p.columns.map(({ column, element }) => {
      const target = this.s.columns.get(column) as ColumnTarget; // every column has a target
      const [j, i] = [freshName("column"), freshName("lane")];
      const b = target.operand;
      const block = useS(
        "block",
        [{ buffer: element.tile as Buffer, index: [int(0), variable(i)] }, b.place(int(0), variable(j)), target.place(variable(i), variable(j))],
        [imin(int(ROWS), sub(this.#width, variable(i))), rows, int(1), int(OVER_TILE), int(b.stride), int(target.stride), int(1)],
      );
      return loop(j, int(0), int(b.columns), [loop(i, int(0), this.#width, [block], "serial", ROWS)], "serial", COLUMNS);
    });
  }
}
const factorOf = (f: TileFold) => `factor.${f.bind[0]}`;
/** A sum of products is an fma chain: as its element is written, whatever a tile without a mask simplifies it to. */
const productKept = (f: TileFold, element: Expr | undefined) => {
  const product = (e: Expr | undefined) => e?.kind === "call" && e.prim === "mul" && e.type === "real";
  return product(f.elements[0]) || !product(element) ? f.monoid : { ...f.monoid, kind: "general" as const };
};
