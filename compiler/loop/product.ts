// Contractions, the mechanism: the blocked product of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008).
// b is packed into panels of 16 columns that stay in L2, a is read in place where it is a plain array walked by fixed
// strides (or packed into panels of 12 rows), and the target multiplies panels by what its registers hold. What a and b
// are made of is computed while packing; what becomes of the sum is computed from the block while it is in L1.
//
// Bits: k runs in chunks of 256, an fma chain from 0 in each; chunks are added in order. No blocking below changes that.
import { apply, type Buffer, type Expr, int, load, variable } from "../lower/expr.js";
import { no, yes } from "../lower/ints.js";
import type { Nest, Store } from "../lower/nest.js";
import { CHUNK } from "./fold.js";
import { PANEL_COLUMNS, PANEL_ROWS, useS } from "./instructions.js";
import { allocS, fetchS, ifS, letS, loop, type Place, type Stmt, storeS, THREADS, tile } from "./ir.js";
import { panelPacker } from "./packing.js";
import { affinity, count, freshName, fuse, type Indexed, indexed, maxCount, type Span, spanOf, unflatten, uniform } from "./spans.js";
import { add, ceilDiv, coefficient, idiv, imax, imin, imod, less, mul, namesOf, offset, rename, sub, termsOf } from "./terms.js";

/** Floats of a cache line. */
const LINE = 16;
/** What recipes choose (recipes/contraction.ts); none of it changes bits. */
export interface ContractionSchedule {
  /** Columns that are multiplied at a time, one panel or two. */
  readonly columns: 16 | 32;
  /** Rows of a and columns of b that are blocked together, in multiples of 12 and of `columns`. */
  readonly rowBlock: number;
  readonly columnBlock: number;
  /** Rows between which partial sums wait in memory, where there are several chunks and an epilogue. */
  readonly rowGroup: number;
  readonly divide: "rows" | "columns";
  /** Operands read in place rather than packed. */
  readonly aInPlace: boolean;
  readonly bInPlace: boolean;
  /** The sum is the stored value: partial sums wait in the result itself. */
  readonly cInPlace: boolean;
}

/** The nest with its axes fused and turned so that n is the direction in which results are contiguous. */
export interface Product {
  readonly batch: readonly Span[];
  readonly m: readonly Span[];
  readonly n: readonly Span[];
  readonly k: readonly Span[];
  readonly a: Expr;
  readonly b: Expr;
  readonly stores: readonly Store[];
}

export function productOf(nest: Nest & { form: "contract" }): Product {
  const groups = [nest.batch, nest.m, nest.n, nest.k].map((g) => g.map(spanOf));
  const fused = fuse(groups, [false, false, false, true], { terms: [nest.a, nest.b], stores: nest.stores });
  const [batch, m, n, k] = fused.groups as readonly [readonly Span[], readonly Span[], readonly Span[], readonly Span[]];
  const [a, b] = fused.work.terms as readonly [Expr, Expr];
  const { stores } = fused.work;
  const contiguous = (spans: readonly Span[]) => Math.max(-Infinity, ...spans.map((s) => affinity(s.v, { terms: [], stores })));
  const turn = contiguous(m) > contiguous(n) || (contiguous(m) === contiguous(n) && maxCount(n) < maxCount(m) && maxCount(n) < PANEL_COLUMNS);
  const lastContiguous = (spans: readonly Span[]) => {
    const best = spans.reduce<Span | undefined>(
      (x, s) => (x && affinity(x.v, { terms: [], stores }) >= affinity(s.v, { terms: [], stores }) ? x : s),
      undefined,
    );
    return best ? [...spans.filter((s) => s !== best), best] : spans;
  };
  return turn ? { batch, m: n, n: lastContiguous(m), k, a: b, b: a, stores } : { batch, m, n: lastContiguous(n), k, a, b, stores };
}

/** An f32 array read at fixed strides along single spans, without a guard. */
export function plain(
  e: Expr,
  row: readonly Span[],
  k: readonly Span[],
): { buffer: Buffer; index: readonly Expr[]; row: number; k: number } | undefined {
  if (e.kind !== "load" || e.inside || e.buffer.dtype !== "f32" || row.length > 1 || k.length > 1) return undefined;
  const at = offset(e.buffer, e.index);
  const steps = [row, k].map(([s]) => (s ? coefficient(at, s.v) : 0));
  const [r, d] = steps;
  return r === undefined || d === undefined ? undefined : { buffer: e.buffer, index: e.index, row: r, k: d };
}
/** Two panels at a time, where their columns lie in one run of results. */
export const columnsOf = (p: Product): ContractionSchedule["columns"] =>
  maxCount(p.n) <= PANEL_COLUMNS || !uniform(p.n, 2 * PANEL_COLUMNS) ? 16 : 32;
/** Are all terms of the sum one chunk of its tree? */
const oneChunk = (p: Product): boolean => maxCount(p.k) <= CHUNK;
/** The one store of the bare sum, contiguous along the last n span; or of what is there already plus the sum, where `onto`
 *  holds (elsewhere nothing is there): a sum of one chunk then, so that what is added is the whole sum. */
export function plainStore(p: Product): { store: Store; row: number; onto: Expr } | undefined {
  const [store, ...others] = p.stores;
  if (!store || others.length || store.buffer.dtype !== "f32" || p.m.length > 1 || !uniform(p.n, columnsOf(p))) return undefined;
  const onto = store.value.kind === "local" ? no : oneChunk(p) ? ontoItself(store, p) : undefined;
  if (!onto) return undefined;
  const at = offset(store.buffer, store.index);
  const last = p.n.at(-1);
  const row = p.m[0] ? coefficient(at, p.m[0].v) : 0;
  return last && coefficient(at, last.v) === 1 && row !== undefined ? { store, row, onto } : undefined;
}
function ontoItself({ buffer, index, value }: Store, p: Product): Expr | undefined {
  if (value.kind !== "call" || value.prim !== "add") return undefined;
  const [was, sum] = value.args as readonly [Expr, Expr];
  if (sum.kind !== "local" || was.kind !== "load" || was.buffer !== buffer || was.index.some((e, i) => e !== index[i])) return undefined;
  const onto = was.inside ?? yes;
  const moving = new Set([...p.batch, ...p.m, ...p.n].map((s) => s.v));
  return [...namesOf(onto)].some((v) => moving.has(v)) ? undefined : onto;
}

export function blockedProduct(p: Product, s: ContractionSchedule): readonly Stmt[] {
  const [M, N, K] = [count(p.m), count(p.n), count(p.k)];
  const kMax = maxCount(p.k);
  const several = !oneChunk(p);
  const depthMax = Math.max(1, Math.min(CHUNK, kMax));
  const name = (stem: string) => freshName(stem);
  const v = {
    thread: name("thread"),
    lo: name("lo"),
    hi: name("hi"),
    batch: name("batch"),
    m0: name("m_first"),
    m1: name("m_last"),
    n0: name("n_first"),
    n1: name("n_last"),
    mg: name("m_group"),
    mgEnd: name("m_group_end"),
    j0: name("j_block"),
    j1: name("j_end"),
    k0: name("k_chunk"),
    depth: name("depth"),
    i0: name("i_block"),
    i1: name("i_end"),
    j: name("j"),
    width: name("width"),
    panel: name("panel"),
    i: name("i"),
    rows: name("rows"),
    kk: name("k"),
    r: name("row"),
    lane: name("lane"),
    step: name("k"),
  };
  const x = Object.fromEntries(Object.entries(v).map(([key, n]) => [key, variable(n)])) as { readonly [P in keyof typeof v]: Expr };
  const { columns } = s;
  const panels = s.columnBlock / PANEL_COLUMNS;
  const evenN = N.kind === "num" && N.value % columns === 0;
  const wholePanels = N.kind === "num" && N.value % PANEL_COLUMNS === 0;

  // b in panels: [panel][depth][16].
  const packedB = tile("b_panel", "f32", panels, depthMax, PANEL_COLUMNS);
  // a in panels: [panel][depth][12]; one row of padding, since transposition writes whole vectors.
  const packedA = tile("a_panel", "f32", Math.ceil(s.rowBlock / PANEL_ROWS), depthMax + 1, PANEL_ROWS);
  const wait = several && !s.cInPlace;
  const sums = wait ? tile("sums", "f32", s.rowGroup, s.columnBlock) : tile("sums", "f32", several ? s.rowGroup : PANEL_ROWS, columns);
  const sumsStride = wait ? s.columnBlock : columns;
  const sumAt = (r: Expr, c: Expr): readonly Expr[] => (several ? [sub(add(x.i, r), x.mg), wait ? add(sub(x.j, x.j0), c) : c] : [r, c]);

  const nAt = (lane: Expr) => indexed(p.n, x.j, lane, columns);
  const mAt = (base: Expr, r: Expr) => indexed(p.m, base, r, PANEL_ROWS);
  const scratch = tile("square", "f32", 8, 8);

  const packB = panelPacker({
    value: p.b,
    across: p.n,
    k: p.k,
    base: x.j,
    width: PANEL_COLUMNS,
    full: wholePanels ? undefined : apply("eq", "bool", x.width, int(PANEL_COLUMNS)),
    have: x.width,
    target: (kk, lane) => ({ buffer: packedB, index: [x.panel, kk, lane] }),
    stride: PANEL_COLUMNS,
    k0: x.k0,
    depth: x.depth,
    square: scratch,
    pad: true,
  });
  const packA = panelPacker({
    value: p.a,
    across: p.m,
    k: p.k,
    base: x.i,
    width: PANEL_ROWS,
    full: apply("eq", "bool", x.rows, int(PANEL_ROWS)),
    have: x.rows,
    target: (kk, lane) => ({ buffer: packedA, index: [idiv(sub(x.i, x.i0), int(PANEL_ROWS)), kk, lane] }),
    stride: PANEL_ROWS,
    k0: x.k0,
    depth: x.depth,
    square: scratch,
    pad: false,
  });

  const plainA = plain(p.a, p.m, p.k);
  const plainB = plain(p.b, p.n, p.k);
  const placeOf = (q: { buffer: Buffer; index: readonly Expr[] }, row: readonly Span[], at: Expr): Place => {
    const to = new Map<string, Expr>();
    if (row[0]) to.set(row[0].v, at);
    if (p.k[0]) to.set(p.k[0].v, x.k0);
    return { buffer: q.buffer, index: rename(q.index, to) };
  };
  const aPlace: Place =
    s.aInPlace && plainA ? placeOf(plainA, p.m, x.i) : { buffer: packedA, index: [idiv(sub(x.i, x.i0), int(PANEL_ROWS)), int(0), int(0)] };
  const [as, ap, ak] = s.aInPlace && plainA ? [plainA.row, PANEL_ROWS * plainA.row, plainA.k] : [1, (depthMax + 1) * PANEL_ROWS, PANEL_ROWS];
  const bDirect = s.bInPlace && plainB ? placeOf(plainB, p.n, x.j) : undefined;
  const packedPlace: BlockB = { place: { buffer: packedB, index: [x.panel, int(0), int(0)] }, k: PANEL_COLUMNS, panel: depthMax * PANEL_COLUMNS };
  const ownB: BlockB = bDirect && plainB ? { place: bDirect, k: plainB.k, panel: PANEL_COLUMNS } : packedPlace;
  const later = several ? apply("gt", "bool", x.k0, int(0)) : int(0);
  // What a panel lacks is zeros, and room in `sums`.
  const some = evenN ? int(columns) : wholePanels ? x.width : mul(ceilDiv(x.width, PANEL_COLUMNS), int(PANEL_COLUMNS));
  const use = (rows: Expr, b: BlockB, c: Place, cs: number, onto: Expr = later): Stmt =>
    useS("block", [aPlace, b.place, c], [rows, some, x.depth, int(as), int(ap), int(ak), int(b.k), int(b.panel), int(cs), onto]);

  // The block, then what becomes of its sums.
  const direct = plainStore(p);
  const toSums = (b: BlockB): Stmt => use(x.rows, b, { buffer: sums, index: sumAt(int(0), int(0)) }, sumsStride);
  const epilogue = (width: Expr): readonly Stmt[] => {
    const here = nAt(x.lane);
    const stores = (to: Indexed): readonly Stmt[] => {
      const lanes = (e: readonly Expr[]) => rename(rename(e, here.to), new Map([...to.to, ["sum", load(sums, sumAt(x.r, x.lane))]]));
      return p.stores.map((st) => storeS(st.buffer, lanes(st.index), lanes([st.value])[0] as Expr));
    };
    const row = mAt(x.i, x.r);
    return [
      ...here.lets,
      loop(v.r, int(0), x.rows, [...row.lets, ...row.inner, loop(v.lane, int(0), width, [...here.inner, ...stores(row)], "vector")]),
    ];
  };
  const last = (body: readonly Stmt[]): readonly Stmt[] => (several ? [ifS(apply("ge", "bool", add(x.k0, x.depth), K), body)] : body);
  const tiles = (body: readonly Stmt[]): Stmt =>
    loop(v.i, x.i0, x.i1, [letS(v.rows, imin(int(PANEL_ROWS), sub(x.i1, x.i))), ...body], "serial", PANEL_ROWS);
  const width = evenN ? int(columns) : x.width;
  // What the epilogue reads in other memory comes while the block is multiplied: its rows are far apart, and it waits for each.
  const ahead = (): readonly Stmt[] => {
    const here = nAt(x.lane);
    const row = mAt(x.i, x.r);
    const sides = [p.m, p.n].map((spans) => new Set(spans.map((q) => q.v)));
    const read = termsOf(p.stores.map((st) => st.value)).flatMap((e) => {
      const both = e.kind === "load" && !e.inside && sides.every((of) => [...namesOf(...e.index)].some((n) => of.has(n)));
      return both ? [e] : [];
    });
    const line = (e: Place, l: number) => {
      const index = rename(rename(e.index, here.to), new Map([...row.to, [v.lane, int(l * LINE)]]));
      return fetchS(e.buffer, index);
    };
    const all = read.flatMap((e) => Array.from({ length: columns / LINE }, (_, l) => line(e, l)));
    return all.length === 0 ? [] : [...here.lets, loop(v.r, int(0), x.rows, [...row.lets, ...row.inner, ...all])];
  };
  const viaSums = (b: BlockB): Stmt => tiles([...(evenN && uniform(p.n, columns) ? last(ahead()) : []), toSums(b), ...last(epilogue(width))]);
  const whole = (b: BlockB): readonly Stmt[] => {
    if (!direct || !s.cInPlace) return [viaSums(b)];
    const here = nAt(int(0));
    const row = mAt(x.i, int(0));
    const index = rename(rename(direct.store.index, here.to), row.to);
    const onto = direct.onto === no ? later : direct.onto;
    return [letS(v.i, x.i0), ...here.lets, ...row.lets, use(sub(x.i1, x.i0), b, { buffer: direct.store.buffer, index }, direct.row, onto)];
  };
  const isWhole = (w: Expr) => apply("eq", "bool", imod(w, int(PANEL_COLUMNS)), int(0));
  const blockLoops: Stmt = loop(
    v.j,
    x.j0,
    x.j1,
    [
      letS(v.width, evenN ? int(columns) : imin(int(columns), sub(x.j1, x.j))),
      letS(v.panel, idiv(sub(x.j, x.j0), int(PANEL_COLUMNS))),
      ...(wholePanels ? whole(ownB) : [ifS(isWhole(x.width), whole(ownB), [viaSums(packedPlace)])]),
    ],
    "serial",
    columns,
  );
  // Where b is read in place, what is multiplied together with a part of a panel is packed all the same.
  const rest = imod(sub(x.j1, x.j0), int(columns));
  const beside = apply("and", "bool", apply("not", "bool", isWhole(rest)), apply("ge", "bool", x.j, sub(x.j1, rest)));
  const packColumns: Stmt = loop(
    v.j,
    x.j0,
    x.j1,
    [
      letS(v.width, wholePanels ? int(PANEL_COLUMNS) : imin(int(PANEL_COLUMNS), sub(x.j1, x.j))),
      letS(v.panel, idiv(sub(x.j, x.j0), int(PANEL_COLUMNS))),
      ...(bDirect ? [ifS(beside, packB)] : packB),
    ],
    "serial",
    PANEL_COLUMNS,
  );
  const packRows: readonly Stmt[] = s.aInPlace ? [] : [tiles(packA)];

  const kLoop = (body: readonly Stmt[]): Stmt =>
    loop(v.k0, int(0), several ? imax(K, int(1)) : int(1), [letS(v.depth, several ? imin(int(CHUNK), sub(K, x.k0)) : K), ...body], "serial", CHUNK);
  const rowBlocks: Stmt = loop(
    v.i0,
    x.mg,
    x.mgEnd,
    [letS(v.i1, imin(add(x.i0, int(s.rowBlock)), x.mgEnd)), ...packRows, blockLoops],
    "serial",
    s.rowBlock,
  );
  const columnBlocks: Stmt = loop(
    v.j0,
    x.n0,
    x.n1,
    [letS(v.j1, imin(add(x.j0, int(s.columnBlock)), x.n1)), kLoop([...(bDirect && wholePanels ? [] : [packColumns]), rowBlocks])],
    "serial",
    s.columnBlock,
  );
  const group = several;
  const rowGroups: readonly Stmt[] = group
    ? [loop(v.mg, x.m0, x.m1, [letS(v.mgEnd, imin(add(x.mg, int(s.rowGroup)), x.m1)), columnBlocks], "serial", s.rowGroup)]
    : [letS(v.mg, x.m0), letS(v.mgEnd, x.m1), columnBlocks];

  // Units of work are panels of the divided direction, over all batches: each thread takes a contiguous run.
  const unit = s.divide === "rows" ? PANEL_ROWS : columns;
  const size = s.divide === "rows" ? M : N;
  const perBatch = ceilDiv(size, unit);
  const batches = count(p.batch);
  const all = mul(batches, perBatch);
  const start = mul(sub(imax(x.lo, mul(x.batch, perBatch)), mul(x.batch, perBatch)), int(unit));
  const end = imin(mul(sub(imin(x.hi, mul(add(x.batch, int(1)), perBatch)), mul(x.batch, perBatch)), int(unit)), size);
  const range = [letS(v.m0, s.divide === "rows" ? start : int(0)), letS(v.m1, s.divide === "rows" ? end : M)];
  const columnRange = [letS(v.n0, s.divide === "columns" ? start : int(0)), letS(v.n1, s.divide === "columns" ? end : N)];
  const needs = new Set([packColumns, rowBlocks].flatMap((q) => [...allocated(q)]));
  const allocs = [packedB, ...(s.aInPlace ? [] : [packedA]), sums, scratch].filter((b) => needs.has(b));
  const space = (b: Buffer) => (b === scratch || (b === sums && !several) ? ("private" as const) : ("scratch" as const));
  return [
    ...allocs.map((b) => allocS(b, space(b))),
    ...(needs.has(scratch) ? zeroed(scratch) : []),
    loop(
      v.thread,
      int(0),
      variable(THREADS),
      [
        letS(v.lo, share(all, x.thread)),
        letS(v.hi, share(all, add(x.thread, int(1)))),
        ifS(less(x.lo, x.hi), [
          loop(v.batch, idiv(x.lo, imax(perBatch, int(1))), idiv(sub(add(x.hi, perBatch), int(1)), imax(perBatch, int(1))), [
            ...unflatten(p.batch, x.batch),
            ...range,
            ...columnRange,
            ...rowGroups,
          ]),
        ]),
      ],
      "thread",
    ),
  ];
}
/** Where a register block finds b: its strides along k, and between panels. */
interface BlockB {
  readonly place: Place;
  readonly k: number;
  readonly panel: number;
}
/** ⌊all · t / threads⌋ without overflow: whole shares, then what is left over. */
const share = (all: Expr, t: Expr): Expr => {
  const n = variable(THREADS);
  return add(mul(idiv(all, n), t), idiv(mul(imod(all, n), t), n));
};
function zeroed(square: Buffer): readonly Stmt[] {
  const [r, l] = [freshName("row"), freshName("lane")];
  return [
    loop(r, int(0), int(8), [loop(l, int(0), int(8), [storeS(square, [variable(r), variable(l)], apply("toReal", "real", int(0)))], "vector")]),
  ];
}
function allocated(s: Stmt): ReadonlySet<Buffer> {
  const out = new Set<Buffer>();
  const stack: Stmt[] = [s];
  for (let t = stack.pop(); t; t = stack.pop()) {
    if (t.s === "store") out.add(t.buffer);
    if (t.s === "use") for (const q of t.places) out.add(q.buffer);
    if (t.s === "for") stack.push(...t.body);
    if (t.s === "if") stack.push(...t.then, ...t.otherwise);
  }
  return out;
}
