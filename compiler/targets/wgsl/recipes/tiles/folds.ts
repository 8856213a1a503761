// The state of a row tile's folds. Every invocation of a row holds the state of what later elements read (a softmax's
// maximum): each has folded its own lanes, the parts pass through the workgroup's memory, and each takes them together
// in the same order, so that all have the same bits. What nothing waits for (a softmax's sum) each keeps for itself, rescaled
// alike, until the last tile. Folds whose order matters are run by one invocation a row along all lanes.
import { bound, combined, emptyOf } from "../../../../loop/fold.js";
import { useS } from "../../../../loop/instructions.js";
import { allocS, letS, loop, type Stmt, setS, storeS, tile, varS } from "../../../../loop/ir.js";
import { freshName } from "../../../../loop/spans.js";
import { namesOf } from "../../../../loop/terms.js";
import { rescaled } from "../../../../loop/tiles/states.js";
import { apply, type Buffer, type Expr, int, load, local, real, variable } from "../../../../lower/expr.js";
import type { TileFold } from "../../../../lower/nest.js";
import { barrier, dtypeOf, type Group } from "./group.js";
import type { Pass } from "./plan.js";

interface State {
  readonly fold: TileFold;
  readonly component: number;
  readonly now: Buffer;
  /** Before the present tile, where something is rescaled by the change. */
  readonly was: Buffer | null;
  /** Of the present tile, this invocation's. */
  readonly part: Buffer;
}
/** Of a chained fold: elements of the tile, and the rows' states. */
interface Chain {
  readonly fold: TileFold;
  readonly elements: readonly Buffer[];
  readonly state: readonly Buffer[];
}

export class Folds {
  readonly #states = new Map<string, State>();
  readonly #chains = new Map<TileFold, Chain>();
  readonly #boards = new Map<string, Buffer>();
  readonly #factors = new Map<Expr, Buffer>();
  #board: Buffer | undefined;

  constructor(readonly g: Group) {
    const { ey, rows, lanes } = g.layout;
    const { nest, demand } = g;
    const read = namesOf(...nest.folds.flatMap((f) => (f.rescale ? [f.rescale] : [])));
    for (const fold of nest.folds) {
      if (fold.n.length > 0) continue;
      fold.bind.forEach((name, component) => {
        const dtype = dtypeOf(fold.monoid.combine[component] as Expr);
        const now = g.private(name, dtype, ey);
        const was = read.has(`was.${name}`) ? g.private(`was_${name}`, dtype, ey) : null;
        g.holdRow(name, (r) => load(now, [r]));
        if (was) g.holdRow(`was.${name}`, (r) => load(was, [r]));
        this.#states.set(name, { fold, component, now, was, part: g.private(`${name}_part`, dtype, ey) });
      });
    }
    for (const f of g.layout.exchange ? [] : demand.early)
      this.#boards.set(f.bind[0] as string, g.shared(`${f.bind[0]}_board`, dtypeOf(f.monoid.combine[0] as Expr), rows, g.layout.tx));
    if (demand.late.size > 0 && !g.layout.exchange) this.#board = g.shared("board", "f32", rows, g.layout.tx);
    for (const fold of demand.chained) {
      const memory = (stem: string, ...extents: readonly number[]) =>
        fold.bind.map((b, c) => g.shared(`${b}_${stem}`, dtypeOf(fold.monoid.combine[c] as Expr), ...extents));
      this.#chains.set(fold, { fold, elements: memory("elements", rows, lanes + 4), state: memory("state", rows) });
    }
  }
  #of(f: TileFold): readonly State[] {
    return f.bind.map((b) => this.#states.get(b) as State); // every fold without axes has states
  }

  get start(): readonly Stmt[] {
    const { g } = this;
    const own = [...this.#states.values()];
    const chains = [...this.#chains.values()];
    return [
      ...(own.length > 0
        ? [
            g.rowByRow((r) =>
              own.flatMap((s) => {
                const empty = emptyOf(s.fold.monoid)[s.component] as Expr;
                return [storeS(s.now, [r], empty), ...(s.was ? [storeS(s.was, [r], empty)] : [])];
              }),
            ),
          ]
        : []),
      ...chains.flatMap((c) => g.divided(g.layout.rows, (i) => emptyOf(c.fold.monoid).map((e, n) => storeS(c.state[n] as Buffer, [i], e)))),
    ];
  }

  // ── in a pass, for row r
  /** Factors of sums, and parts from nothing. */
  before(p: Pass, r: Expr): readonly Stmt[] {
    const rescales = new Set([...p.sums, ...p.folds].flatMap(({ fold }) => (fold.rescale && fold.monoid.kind === "sum" ? [fold.rescale] : [])));
    return [
      ...[...rescales].map((e) => {
        const fold = [...p.sums, ...p.folds].find((x) => x.fold.rescale === e)?.fold as TileFold;
        return storeS(this.#factor(e), [r], rescaled(fold, real(1)));
      }),
      ...p.folds.flatMap(({ fold }) =>
        fold.monoid.kind === "general" ? [] : this.#of(fold).map((s) => storeS(s.part, [r], emptyOf(fold.monoid)[s.component] as Expr)),
      ),
    ];
  }
  /** Terms that `before` and `after` read of a row. */
  roots(p: Pass): readonly Expr[] {
    return [...p.sums, ...p.folds].flatMap(({ fold }) => (fold.rescale ? [fold.rescale] : []));
  }
  #factor(rescale: Expr): Buffer {
    const b = this.#factors.get(rescale) ?? this.g.private("factor", "f32", this.g.layout.ey);
    this.#factors.set(rescale, b);
    return b;
  }
  /** What a sum of the pass is multiplied by in row r, if anything. */
  factor(f: TileFold, r: Expr): Expr | null {
    return f.rescale ? load(this.#factor(f.rescale), [r]) : null;
  }
  /** Takes in a cell's elements; where the cell does not exist they are the fold's empty value. */
  cell(fold: TileFold, elements: readonly Expr[], exists: Expr | null, r: Expr, c: Expr): readonly Stmt[] {
    const empty = emptyOf(fold.monoid);
    const there = (e: Expr, i: number) => (exists === null ? e : apply("select", e.type, exists, e, asType(empty[i] as Expr, e)));
    const values = elements.map(there);
    const chain = this.#chains.get(fold);
    if (chain) return values.map((e, i) => storeS(chain.elements[i] as Buffer, [this.g.row(r), this.g.lane(c)], e));
    const [s] = this.#of(fold) as readonly [State];
    return [storeS(s.part, [r], combined(fold.monoid, [load(s.part, [r])], values)[0] as Expr)];
  }
  /** Once a row's lanes are done. */
  after(fold: TileFold, r: Expr): readonly Stmt[] {
    const { g } = this;
    if (this.#chains.has(fold)) return [];
    const [s] = this.#of(fold) as readonly [State];
    const board = this.#boards.get(fold.bind[0] as string);
    if (board) return [storeS(board, [g.row(r), g.x], load(s.part, [r]))];
    if (!g.demand.late.has(fold)) return [...this.#exchanged(fold, s.part, r), ...this.#updated(s, load(s.part, [r]), r)];
    return [storeS(s.now, [r], this.#next(s, load(s.now, [r]), load(s.part, [r]), r))];
  }
  #next(s: State, before: Expr, part: Expr, r: Expr): Expr {
    const { fold } = s;
    const factor = fold.monoid.kind === "sum" ? this.factor(fold, r) : null;
    const old = factor ? apply("mul", "real", before, factor) : rescaled(fold, before);
    return combined({ ...fold.monoid, kind: "general" }, [old], [part])[0] as Expr;
  }

  // ── between passes
  /** Brings the states of the pass's folds up to date, where later ones read them: each stretch after a barrier. */
  update(p: Pass): readonly (readonly Stmt[])[] {
    const { g } = this;
    const early = p.folds.filter(({ fold }) => this.#boards.has(fold.bind[0] as string));
    const chained = p.folds.flatMap(({ fold }) => this.#chains.get(fold) ?? []);
    if (early.length + chained.length === 0) return [];
    const rescales = early.flatMap(({ fold }) => (fold.rescale ? [fold.rescale] : []));
    const first: Stmt[] =
      early.length === 0
        ? []
        : [
            g.rowByRow((r) => [
              ...g.rowLets(rescales, r),
              ...early.flatMap(({ fold }) => {
                const [s] = this.#of(fold) as readonly [State];
                const all = freshName("all");
                const like = fold.monoid.combine[0] as Expr;
                return [
                  ...this.#together(fold, this.#boards.get(fold.bind[0] as string) as Buffer, r, all),
                  ...this.#updated(s, local(all, like.type), r),
                ];
              }),
            ]),
          ];
    if (chained.length === 0) return [first];
    return [
      [...first, ...g.divided(g.layout.rows, (row) => chained.flatMap((c) => this.#along(c, row)))],
      [
        g.rowByRow((r) =>
          chained.flatMap((c) =>
            this.#of(c.fold).flatMap((s) => [
              ...(s.was ? [storeS(s.was, [r], load(s.now, [r]))] : []),
              storeS(s.now, [r], load(c.state[s.component] as Buffer, [g.row(r)])),
            ]),
          ),
        ),
      ],
    ];
  }
  /** The row's state once all parts of a tile are one. */
  #updated(s: State, part: Expr, r: Expr): readonly Stmt[] {
    const old = freshName("old");
    const before = local(old, part.type);
    return [letS(old, load(s.now, [r])), ...(s.was ? [storeS(s.was, [r], before)] : []), storeS(s.now, [r], this.#next(s, before, part, r))];
  }
  /** Every invocation of the row gets all parts, taken together pair by pair: both of a pair the same bits. */
  #exchanged(fold: TileFold, part: Buffer, r: Expr): readonly Stmt[] {
    const { g } = this;
    const plain = { ...fold.monoid, kind: "general" as const };
    const out: Stmt[] = [];
    for (let mask = 1; mask < g.layout.tx; mask *= 2) {
      const other = tile(freshName("other"), part.dtype, 1);
      const all = combined(plain, [load(part, [r])], [load(other, [int(0)])])[0] as Expr;
      const places = [
        { buffer: part, index: [r] },
        { buffer: other, index: [int(0)] },
      ];
      out.push(allocS(other, "private"), useS("exchange", places, [g.invocation, int(mask)]), storeS(part, [r], all));
    }
    return out;
  }
  /** Binds `name` to all invocations' parts of row r, taken together in order. */
  #together(fold: TileFold, board: Buffer, r: Expr, name: string): readonly Stmt[] {
    const { g } = this;
    const like = fold.monoid.combine[0] as Expr;
    const [acc, i] = [freshName("all"), freshName("other")];
    const plain = { ...fold.monoid, kind: "general" as const };
    const row = g.row(r);
    const other = load(board, [row, variable(i)]);
    return [
      varS(acc, load(board, [row, int(0)])),
      loop(i, int(1), int(g.layout.tx), [setS(acc, combined(plain, [local(acc, like.type)], [other])[0] as Expr)]),
      letS(name, local(acc, like.type)),
    ];
  }
  #along(c: Chain, row: Expr): readonly Stmt[] {
    const { monoid } = c.fold;
    if (c.fold.rescale) throw new Error(`fold ${c.fold.bind.join(", ")} is chained and cannot be rescaled`);
    const names = c.fold.bind.map((b) => freshName(`${b}_chain`));
    const next = names.map((n) => freshName(`${n}_next`));
    const lane = freshName("lane");
    const acc = bound(monoid, names);
    const now = combined(
      monoid,
      acc,
      c.elements.map((b) => load(b, [row, variable(lane)])),
    );
    return [
      ...names.map((n, i) => varS(n, load(c.state[i] as Buffer, [row]))),
      loop(lane, int(0), this.g.shape.width, [
        ...now.map((e, i) => letS(next[i] as string, e)),
        ...names.map((n, i) => setS(n, local(next[i] as string, (now[i] as Expr).type))),
      ]),
      ...acc.map((e, i) => storeS(c.state[i] as Buffer, [row], e)),
    ];
  }

  /** After the last tile: what each invocation kept for itself becomes the row's. */
  get finish(): readonly Stmt[] {
    const { g } = this;
    const board = this.#board;
    return [...g.demand.late].flatMap((fold) => {
      const [s] = this.#of(fold) as readonly [State];
      if (!board) return [g.rowByRow((r) => this.#exchanged(fold, s.now, r))];
      return [
        barrier,
        g.rowByRow((r) => [storeS(board, [g.row(r), g.x], load(s.now, [r]))]),
        barrier,
        g.rowByRow((r) => {
          const all = freshName("all");
          return [...this.#together(fold, board, r, all), storeS(s.now, [r], local(all, "real"))];
        }),
      ];
    });
  }
}
const asType = (e: Expr, like: Expr): Expr => (e.type === like.type ? e : like.type === "real" ? apply("toReal", "real", e) : e);
