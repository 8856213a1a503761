// Nests inside a loop over blocks of rows: each runs over the rows of its span, buffers that hold one block alone are
// addressed from the block's first row, and what folds over rows goes on from what the blocks before have left.
import { UpTo } from "../../dsl/node.js";
import type { Member, Region } from "./block-stages.js";
import { apply, type Buffer, type BufferAxis, type Expr, int, load, local, maxOf, real, variable } from "./expr.js";
import { iadd, isub, substituted } from "./ints.js";
import { touched } from "./memory.js";
import type { Axis, Monoid, Nest, RowSpan, Stage, Step, Store } from "./nest.js";
import { type Placing, remade } from "./remake.js";
import { select } from "./translate.js";

/** Rows of a block. */
export const SIZE = 128;
/** Rows beside a block that are made again with it, at most. */
const FURTHEST = SIZE / 2;

export interface Making {
  readonly unique: (name: string) => string;
  /** A temporary. With `of` it holds a block of that one's rows, and has its name where that one is gone. */
  readonly temporary: (name: string, like: Pick<Buffer, "dtype" | "axes">, of?: { readonly whole: Buffer; readonly gone: boolean }) => Buffer;
}
interface Span {
  readonly lo: number;
  readonly hi: number;
}

/** One stage's loop, and what finishes its folds behind it; a reason where it cannot be. */
export function blockLoop(region: Region, t: number, make: Making): { readonly loop: Step; readonly after: readonly Nest[] } | string {
  const stage = region.stages[t] as Region["stages"][number];
  const { extent } = region;
  const { members } = stage;
  const counter = variable(make.unique("block"));
  if (counter.kind !== "var") throw new Error("a counter is a variable");

  // From readers to what they read: the rows that each must make.
  const need = new Map<Buffer, Span>();
  const spanOf = new Map<Member, Span>();
  const most = new Map<Buffer, number>();
  for (const m of [...members].reverse()) {
    const io = touched(m.nest);
    const wanted = m.aligned.loop.kind === "folds" ? [] : [...io.writes].flatMap((b) => need.get(b) ?? []);
    const span = { lo: Math.min(0, ...wanted.map((x) => x.lo)), hi: Math.max(0, ...wanted.map((x) => x.hi)) };
    if (span.lo < -FURTHEST || span.hi > FURTHEST) return `is needed ${Math.max(-span.lo, span.hi)} rows away`;
    spanOf.set(m, span);
    for (const [b, [lo, hi]] of m.aligned.beside) {
      if (io.writes.has(b)) continue;
      const known = need.get(b) ?? { lo: 0, hi: 0 };
      need.set(b, { lo: Math.min(known.lo, span.lo + lo), hi: Math.max(known.hi, span.hi + hi) });
      most.set(b, Math.max(most.get(b) ?? 0, span.hi + hi - span.lo));
    }
  }
  const spans = new Map<string, RowSpan>();
  const rowsOf = ({ lo, hi }: Span): RowSpan => {
    const key = `${lo},${hi}`;
    let s = spans.get(key);
    if (!s) {
      const alike = lo === 0 && hi === 0 && typeof extent === "number" && extent % SIZE === 0;
      const name = typeof extent === "number" ? "rows" : extent.name;
      s = {
        start: make.unique("row_start"),
        skip: lo === 0 ? null : make.unique("row_skip"),
        rows: alike ? SIZE : new UpTo(Math.min(SIZE + hi - lo, maxOf(extent)), name),
        lo,
        hi,
      };
      spans.set(key, s);
    }
    return s;
  };
  // Memory for the rows of one block, and of the span of what writes it.
  const homes = new Map<Buffer, { readonly buffer: Buffer; readonly at: number; readonly lo: number }>();
  for (const [b, at] of stage.local) {
    const writer = members.find((m) => touched(m.nest).writes.has(b)) as Member;
    const { lo, hi } = spanOf.get(writer) as Span;
    const rows = Math.max(SIZE + hi - 2 * lo, SIZE + (most.get(b) ?? 0) - lo);
    const axes = b.axes.map((a, i): BufferAxis => (i === at ? { name: a.name, extent: rows } : a));
    const gone = !region.whole.has(b) && !writer.again;
    homes.set(b, { buffer: make.temporary(b.name, { dtype: b.dtype, axes }, { whole: b, gone }), at, lo });
  }

  const body: Nest[] = [];
  const after: Nest[] = [];
  for (const m of members) {
    const span = spanOf.get(m) as Span;
    const rows = rowsOf(span);
    const { axis } = m.aligned.loop;
    const own = touched(m.nest).writes;
    const home = (b: Buffer) => (region.whole.has(b) && !(m.again && own.has(b)) ? undefined : homes.get(b));
    const to = new Map([[axis.v, iadd(variable(rows.start), variable(axis.v))]]);
    const inBlock = (e: Expr, lo: number, go: (x: Expr) => Expr): Expr => {
      const beside = iadd(go(isub(e, variable(axis.v))), int(span.lo - lo));
      return iadd(iadd(variable(axis.v), beside), rows.skip === null ? int(0) : variable(rows.skip));
    };
    const go = (root: Expr): Expr =>
      substituted(root, to, (e, inner) => {
        const h = e.kind === "load" ? home(e.buffer) : undefined;
        if (!h || e.kind !== "load") return undefined;
        const index = e.index.map((x, i) => (i === h.at ? inBlock(x, h.lo, inner) : inner(x)));
        return load(h.buffer, index, e.inside && inner(e.inside));
      });
    const place = <P extends { readonly buffer: Buffer; readonly index: readonly Expr[] }>(p: P): P => {
      const h = home(p.buffer);
      return { ...p, buffer: h?.buffer ?? p.buffer, index: p.index.map((x, i) => (h && i === h.at ? inBlock(x, h.lo, go) : go(x))) };
    };
    const moved = remade(m.nest, go, place, (a) => (a === axis ? { v: a.v, extent: rows.rows } : a));
    const named = m.again ? { ...moved, name: make.unique(`${moved.name}_again`) } : moved;
    if (m.aligned.loop.kind === "makes") {
      body.push(named);
      continue;
    }
    const parts = gathered(named, apply("gt", "bool", counter, int(0)), make);
    body.push(...parts.inside);
    after.push(...parts.after);
  }
  const count = Math.max(1, Math.ceil(maxOf(extent) / SIZE));
  const blocks = { extent, size: SIZE, spans: [...spans.values()] };
  const steps = body.map((nest): Step => ({ step: "nest", nest }));
  return { loop: { step: "loop", v: counter.name, count, reverse: false, body: steps, blocks }, after };
}

/** The stages of a row as kernels of their own; values that a stage leaves to others, and not in memory, keep them together. */
export function stagesApart(n: Nest, unique: (name: string) => string): readonly Nest[] {
  if (n.form !== "row") return [n];
  const groups: Stage[][] = [];
  for (const s of n.stages) {
    const binds = (g: readonly Stage[]) => g.flatMap((x) => (x.stage === "map" ? [] : x.bind));
    const values =
      s.stage === "fold" ? s.elements : s.stage === "map" ? s.stores.map((x) => x.value) : [...s.elements, ...s.stores.map((x) => x.value)];
    const from = groups.findIndex((g) => binds(g).some((b) => values.some((v) => mentions(v, b))));
    if (from < 0) groups.push([s]);
    else groups.push([...groups.splice(from).flat(), s]);
  }
  if (groups.length < 2) return [n];
  return groups.map((stages, i): Nest => {
    const own = new Map(n.rows.map((a) => [a.v, variable(i === 0 ? a.v : unique(`${a.v}s`))]));
    const rows = n.rows.map((a) => ({ v: (own.get(a.v) as Expr & { kind: "var" }).name, extent: a.extent }));
    const go = (e: Expr) => substituted(e, own);
    const place: Placing = (p) => ({ ...p, index: p.index.map(go) });
    const base = { nodes: n.nodes, name: i === 0 ? n.name : unique(`${n.name}_part`) };
    const [only, ...others] = stages;
    if (only?.stage === "map" && others.length === 0) {
      const stores = only.stores.map((s): Store => ({ ...place(s), value: go(s.value) }));
      return { ...base, form: "map", axes: [...rows, ...only.axes], stores };
    }
    return { ...remade({ ...n, stages }, go, place, (a) => a), ...base, rows } as Nest & { form: "row" };
  });
}

// ── folds over rows ──────────────────────────────────────────────────────────────────────────────────
interface Gathered {
  readonly inside: readonly Nest[];
  readonly after: readonly Nest[];
}
/** A fold over rows, block after block: what a block gives is combined with what is there (`later`: a block was before). Where
 *  a result is more than its fold, the fold waits in a temporary and is finished behind the loop. */
function gathered(n: Nest, later: Expr, make: Making): Gathered {
  switch (n.form) {
    case "contract": {
      const axes = [...n.batch, ...n.m, ...n.n];
      const sum = local("sum", "real");
      const of = new Map([["sum", sum]]);
      const { stores, after } = gathering([{ monoid: SUM, bind: ["sum"], of, axes }], [{ axes, stores: n.stores }], n, later, make);
      return { inside: [{ ...n, stores }], after };
    }
    case "row": {
      const folds = n.stages.flatMap((s) => (s.stage === "fold" ? [s] : []));
      const maps = n.stages.flatMap((s) => (s.stage === "map" ? [s] : []));
      const results = folds.map((f) => ({ monoid: f.monoid, bind: f.bind, of: binds(f.bind), axes: n.rows }));
      const uses = maps.map((m) => ({ axes: [...n.rows, ...m.axes], stores: m.stores }));
      const { stores, after } = gathering(results, uses, n, later, make);
      return { inside: [{ ...n, stages: [...folds, { stage: "map", axes: [], stores }] }], after };
    }
    case "tiles": {
      const axes = [...n.batch, ...n.rows];
      const results = n.folds.map((f) => ({ monoid: f.monoid, bind: f.bind, of: binds(f.bind), axes: [...axes, ...f.n] }));
      const uses = n.stores.map((s) => ({ axes: [...axes, ...s.n], stores: s.stores }));
      const { by, after } = gathering(results, uses, n, later, make);
      const groups = n.folds.map((f, i) => ({ n: f.n, stores: by[i] as readonly Store[] }));
      return { inside: [{ ...n, stores: groups }], after };
    }
    case "scatter": {
      const axes = [...n.rows, n.target];
      const part = make.temporary(`${n.name}_part`, { dtype: "f32", axes: named(axes) });
      const at = axes.map((a) => variable(a.v));
      const total = apply("add", "real", load(n.into.buffer, n.into.index, later), load(part, at));
      const sum = { form: "map", name: make.unique(`${n.name}_sum`), nodes: n.nodes, axes, stores: [{ ...n.into, value: total }] } as const;
      return { inside: [{ ...n, into: { buffer: part, index: at } }, sum], after: [] };
    }
    case "map":
    case "top":
      throw new Error(`kernel ${n.name} folds over nothing`);
  }
}
const SUM: Monoid = {
  names: ["sum"],
  empty: [0],
  combine: [apply("add", "real", local("x.sum", "real"), local("y.sum", "real"))],
  kind: "sum",
};
const binds = (names: readonly string[]): ReadonlyMap<string, Expr> => new Map(names.map((b) => [b, local(b, "real")]));
const named = (axes: readonly Axis[]): readonly BufferAxis[] => axes.map((a) => ({ name: a.v.replace(/\d+$/, ""), extent: a.extent }));

interface Result {
  readonly monoid: Monoid;
  readonly bind: readonly string[];
  readonly of: ReadonlyMap<string, Expr>;
  /** The loops that it has a value at each index of. */
  readonly axes: readonly Axis[];
}
function gathering(
  results: readonly Result[],
  uses: readonly { readonly axes: readonly Axis[]; readonly stores: readonly Store[] }[],
  n: Nest,
  later: Expr,
  make: Making,
): { readonly stores: readonly Store[]; readonly by: readonly (readonly Store[])[]; readonly after: readonly Nest[] } {
  const total = new Map<string, { readonly buffer: Buffer; readonly index: readonly Expr[] }>();
  // A fold that is stored as it is, and read by nothing else, is gathered where it is to be.
  const alone = new Set<Store>();
  const all = uses.flatMap((u) => u.stores);
  for (const r of results) {
    for (const b of r.bind) {
      const by = all.filter((s) => mentions(s.value, b));
      const [s] = by;
      if (s && by.length === 1 && s.value === r.of.get(b) && s.buffer.dtype === "f32") {
        alone.add(s);
        total.set(b, s);
      } else {
        const buffer = make.temporary(`${n.name}_${b}`, { dtype: "f32", axes: named(r.axes) });
        total.set(b, { buffer, index: r.axes.map((a) => variable(a.v)) });
      }
    }
  }
  const by = results.map(({ monoid, bind }) => {
    const places = bind.map((b) => total.get(b) as { buffer: Buffer; index: readonly Expr[] });
    const before = places.map((p, c) =>
      monoid.empty[c] === 0 ? load(p.buffer, p.index, later) : select(later, load(p.buffer, p.index, later), real(monoid.empty[c] as number)),
    );
    const operands = new Map<string, Expr>(
      monoid.names.flatMap((x, c) => [[`x.${x}`, before[c] as Expr] as const, [`y.${x}`, local(bind[c] as string, "real")] as const]),
    );
    const value = (e: Expr) => substituted(e, new Map(), (x) => (x.kind === "local" ? operands.get(x.name) : undefined));
    return places.map((p, c): Store => ({ buffer: p.buffer, index: p.index, value: value(monoid.combine[c] as Expr) }));
  });
  const after = uses.flatMap(({ axes, stores }): readonly Nest[] => {
    const rest = stores.filter((s) => !alone.has(s));
    if (rest.length === 0) return [];
    // Loops of its own: a variable is one nest's.
    const own = new Map(axes.map((a) => [a.v, variable(make.unique(`${a.v}e`))]));
    const finish = (e: Expr): Expr =>
      substituted(e, own, (x, go) => {
        const p = x.kind === "local" ? total.get(x.name) : undefined;
        return p && load(p.buffer, p.index.map(go));
      });
    return [
      {
        form: "map",
        name: make.unique(`${n.name}_end`),
        nodes: n.nodes,
        axes: axes.map((a) => ({ v: (own.get(a.v) as Expr & { kind: "var" }).name, extent: a.extent })),
        stores: rest.map((s) => ({ buffer: s.buffer, index: s.index.map(finish), value: finish(s.value) })),
      },
    ];
  });
  return { stores: by.flat(), by, after };
}
function mentions(root: Expr, name: string): boolean {
  let found = false;
  substituted(root, new Map(), (e) => {
    if (e.kind === "local" && e.name === name) found = true;
    return undefined;
  });
  return found;
}
