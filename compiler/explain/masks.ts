// Does a mask leave rows without a key? A score is masked where it is −∞; the condition under which it is not is read off
// its expression (`kept`). Then, for given sizes, whether every row has a key:
//
//   boxes     rows are taken in ranges: interval analysis of the condition shows that a whole range has a key in common
//             (j = 0 under j ≤ i), or that none of its rows has any; a range that shows neither is halved
//   data      where tensors decide (documents, padding), the condition is executed on tensors made for it: all zero, all
//             one, all different, a few at random. A row without a key is then one that such data leave so.
//
// What it says of rows is found by trying sizes, so it holds for those; sizes that the program fixes are the ones tried.
import { call, constant, type Scalar, terms } from "../../dsl/scalar.js";
import { compileScalar } from "../../dsl/scalar-eval.js";
import { type Interval, intervalOf } from "../../dsl/scalar-interval.js";
import { simplify } from "../../dsl/scalar-simplify.js";

/** The condition under which a value is not surely −∞. */
export function kept(body: Scalar): Scalar {
  const lowest = new Map<Scalar, Scalar>();
  const of = (s: Scalar): Scalar => lowest.get(s) as Scalar;
  const [yes, no] = [constant(true), constant(false)];
  for (const t of terms([body])) {
    if (t.kind === "const") lowest.set(t, t.value === -Infinity ? yes : no);
    else if (t.kind !== "call") lowest.set(t, no);
    else lowest.set(t, simplify(lowestOfCall(t, of, no)));
  }
  return simplify(call("not", of(body)));
}
function lowestOfCall(t: Extract<Scalar, { kind: "call" }>, of: (s: Scalar) => Scalar, no: Scalar): Scalar {
  const [a, b, c] = t.args as readonly [Scalar, Scalar, Scalar];
  const positive = (s: Scalar) => s.kind === "const" && Number(s.value) > 0;
  switch (t.prim) {
    case "select":
      // c ? p : q as (c and p) or (not c and q): conditions are what they are made of.
      return call("or", call("and", a, of(b)), call("and", call("not", a), of(c)));
    case "add":
      return call("or", of(a), of(b));
    case "sub":
      return of(a);
    case "mul":
      return positive(b) ? of(a) : positive(a) ? of(b) : no;
    case "div":
      return positive(b) ? of(a) : no;
    case "min":
      return call("or", of(a), of(b));
    case "max":
      return call("and", of(a), of(b));
    case "toF32":
    case "toBf16":
    case "toF16":
      return of(a);
    default:
      return no;
  }
}

export type Sizes = Readonly<Record<string, number>>;
/** Values of the condition's arguments at given indices. */
export interface Data {
  /** In words: "all of it false". */
  readonly what: string;
  readonly value: (name: string, at: Sizes, sizes: Sizes) => number | boolean;
}
export interface MaskQuestion {
  /** As `kept` gives it. */
  readonly condition: Scalar;
  /** The folded axes: the keys. Every other axis that the condition names is one of rows. */
  readonly over: readonly string[];
  /** Sizes to try, of every axis that the condition names. */
  readonly sizes: readonly Sizes[];
  /** What tensors may hold, if the condition reads any; empty: nothing is known of them. */
  readonly data: readonly Data[];
}
export interface EmptyRows {
  readonly sizes: Sizes;
  /** The first row without a key, by axis; of a mask without axes of rows {}. */
  readonly row: Sizes;
  /** How many rows of how many have no key; where data decide, of those that were tried. */
  readonly count: number;
  readonly rows: number;
  /** The data that leave it so; null: whatever the data. */
  readonly data: string | null;
}
/** never: every row has a key, at every size tried. unknown: data decide, and none could be tried. */
export type MaskAnswer = { readonly kind: "never" } | { readonly kind: "unknown" } | ({ readonly kind: "empty" } & EmptyRows);

export function emptyRows(q: MaskQuestion): MaskAnswer {
  const found = q.sizes.map((sizes) => new Rows(q, sizes).answer());
  const empty = found.filter((f) => f.kind === "empty");
  // Where some rows are empty and others are not, it is seen which.
  return empty.find((f) => f.count < f.rows) ?? empty[0] ?? found.find((f) => f.kind === "unknown") ?? { kind: "never" };
}

/** Evaluations of the condition that one question may cost. */
const BUDGET = 100_000;
type Box = Readonly<Record<string, readonly [lo: number, hi: number]>>;
type Verdict = "some" | "none" | "open";
class Rows {
  readonly #rows: readonly string[];
  readonly #over: readonly string[];
  readonly #axes: readonly string[];
  readonly #exact: ReturnType<typeof compileScalar> | null;
  /** How far the key that a row was last found to have lies from it, by axis of keys and of rows. */
  readonly #offsets = new Map<string, number>();
  #left = BUDGET;
  constructor(
    readonly q: MaskQuestion,
    readonly sizes: Sizes,
  ) {
    const named = [...new Set(terms([q.condition]).flatMap((t) => (t.kind === "index" ? [t.axis] : [])))];
    this.#axes = Object.keys(sizes);
    this.#exact = hasData(q.condition) ? null : compileScalar(q.condition, { args: [], indices: this.#axes, sizes: this.#axes });
    // Data vary along axes that the condition itself does not name.
    const all = hasData(q.condition) ? this.#axes : named;
    this.#over = all.filter((a) => q.over.includes(a));
    this.#rows = all.filter((a) => !q.over.includes(a));
  }

  answer(): MaskAnswer {
    const size = (axes: readonly string[]) => axes.reduce((n, a) => n * (this.sizes[a] as number), 1);
    const rows = size(this.#rows);
    if (rows === 0 || size(this.#over) === 0) return { kind: "never" }; // nothing to attend from, or to
    const surely = this.#sweep();
    if (surely.empty.count > 0 && surely.empty.first)
      return { kind: "empty", sizes: this.sizes, row: surely.empty.first, count: surely.empty.count, rows, data: null };
    if (surely.open.length === 0) return { kind: "never" };
    if (!hasData(this.q.condition) || this.q.data.length === 0) return { kind: "unknown" };
    return this.#tried();
  }

  /** Every row, in boxes: those without a key whatever the data, and those about which intervals do not say. */
  #sweep(): { readonly empty: { count: number; first: Sizes | undefined }; readonly open: readonly Box[] } {
    const empty: { count: number; first: Sizes | undefined } = { count: 0, first: undefined };
    const open: Box[] = [];
    const whole: Box = Object.fromEntries(this.#rows.map((a) => [a, [0, (this.sizes[a] as number) - 1]]));
    const todo: Box[] = [whole];
    for (let box = todo.pop(); box; box = todo.pop()) {
      const verdict = this.#left > 0 ? this.#box(box) : "open";
      if (verdict === "some") continue;
      if (verdict === "none") {
        empty.count += Object.values(box).reduce((n, [lo, hi]) => n * (hi - lo + 1), 1);
        const first = Object.fromEntries(Object.entries(box).map(([a, [lo]]) => [a, lo]));
        if (!empty.first || before(first, empty.first, this.#rows)) empty.first = first;
        continue;
      }
      const halves = this.#left > 0 ? halved(box) : undefined;
      if (halves) todo.push(...halves);
      else open.push(box);
    }
    return { empty, open };
  }
  #box(rows: Box): Verdict {
    const all = Object.fromEntries(this.#over.map((a) => [a, [0, (this.sizes[a] as number) - 1]] as const));
    const range = this.#condition({ ...rows, ...all });
    if (range[0] === 1) return "some";
    if (range[1] === 0) return "none";
    for (const key of this.#candidates(rows)) if (this.#condition({ ...rows, ...key })[0] === 1) return "some";
    if (Object.values(rows).some(([lo, hi]) => lo < hi)) return "open";
    return this.#row(rows, all);
  }
  /** Keys that rows in a range often share: as far from them as the last key that was found, their own positions, the ends. */
  #candidates(rows: Box): readonly Box[] {
    let out: readonly Box[] = [{}];
    for (const a of this.#over) {
      const last = (this.sizes[a] as number) - 1;
      const near = Object.entries(rows).flatMap(([r, [lo, hi]]) => {
        const offset = this.#offsets.get(`${a} ${r}`);
        return offset === undefined ? [] : [lo + offset, hi + offset];
      });
      const at = [...new Set([...near, ...Object.values(rows).flat(), 0, last])].filter((v) => v >= 0 && v <= last);
      out = out.flatMap((box) => at.map((v) => ({ ...box, [a]: [v, v] as const }))).slice(0, 16);
    }
    return out;
  }
  /** One row: its keys are halved until they are decided. */
  #row(row: Box, all: Box): Verdict {
    let open = false;
    const todo: Box[] = [all];
    for (let keys = todo.pop(); keys; keys = todo.pop()) {
      if (this.#left <= 0) return "open";
      const at = { ...row, ...keys };
      const halves = halved(keys);
      const range = halves ? this.#condition(at) : this.#point(at);
      if (range[0] === 1) {
        for (const [a, [key]] of Object.entries(keys)) for (const [r, [lo]] of Object.entries(row)) this.#offsets.set(`${a} ${r}`, key - lo);
        return "some";
      }
      if (range[1] === 0) continue;
      if (halves) todo.push(...halves);
      else open = true;
    }
    return open ? "open" : "none";
  }
  /** One row and one key: known exactly, if no data decide. */
  #point(at: Box): Interval {
    if (this.#exact === null) return this.#condition(at);
    this.#left--;
    return this.#exact(
      [],
      this.#axes.map((a) => at[a]?.[0] ?? 0),
      this.#axes.map((a) => this.sizes[a] as number),
    ) === true
      ? [1, 1]
      : [0, 0];
  }
  #condition(at: Box): Interval {
    this.#left--;
    return intervalOf(this.q.condition, (t) =>
      t.kind === "index" ? (at[t.axis] ?? [0, 0]) : t.kind === "size" ? exactly(this.sizes[t.axis]) : [-Infinity, Infinity, true],
    );
  }

  /** With data: rows at both ends and some between, against every key. */
  #tried(): MaskAnswer {
    const names = [...new Set(terms([this.q.condition]).flatMap((t) => (t.kind === "arg" ? [t.name] : [])))];
    const axes = Object.keys(this.sizes);
    const run = compileScalar(this.q.condition, { args: names, indices: axes, sizes: axes });
    const sizes = axes.map((a) => this.sizes[a] as number);
    const keys = points(this.#over, this.sizes, 4096);
    if (keys === undefined) return { kind: "unknown" };
    for (const data of this.q.data) {
      let count = 0;
      let first: Sizes | undefined;
      const some = sampled(this.#rows, this.sizes);
      for (const row of some) {
        const any = keys.some((key) => {
          const at = { ...row, ...key };
          return run(
            names.map((n) => data.value(n, at, this.sizes)),
            axes.map((a) => at[a] ?? 0),
            sizes,
          );
        });
        if (any) continue;
        count++;
        first ??= row;
      }
      if (first) return { kind: "empty", sizes: this.sizes, row: first, count, rows: some.length, data: data.what };
    }
    return { kind: "never" };
  }
}
const hasData = (s: Scalar): boolean => terms([s]).some((t) => t.kind === "arg");
const exactly = (v: number | undefined): Interval => (v === undefined ? [0, Infinity] : [v, v]);
function before(a: Sizes, b: Sizes, axes: readonly string[]): boolean {
  for (const x of axes) if (a[x] !== b[x]) return (a[x] as number) < (b[x] as number);
  return false;
}
/** Cut across its longest side; undefined for a point. */
function halved(box: Box): readonly [Box, Box] | undefined {
  let widest: string | undefined;
  let width = 0;
  for (const [a, [lo, hi]] of Object.entries(box))
    if (hi - lo > width) {
      width = hi - lo;
      widest = a;
    }
  if (widest === undefined) return undefined;
  const [lo, hi] = box[widest] as readonly [number, number];
  const middle = Math.floor((lo + hi) / 2);
  return [
    { ...box, [widest]: [lo, middle] },
    { ...box, [widest]: [middle + 1, hi] },
  ];
}
/** Every index of the axes; undefined where they are more than `most`. */
function points(axes: readonly string[], sizes: Sizes, most: number): readonly Sizes[] | undefined {
  let out: readonly Sizes[] = [{}];
  for (const a of axes) {
    out = out.flatMap((p) => Array.from({ length: sizes[a] as number }, (_, i) => ({ ...p, [a]: i })));
    if (out.length > most) return undefined;
  }
  return out;
}
/** Indices at the ends of each axis and a few between. */
function sampled(axes: readonly string[], sizes: Sizes): readonly Sizes[] {
  let out: readonly Sizes[] = [{}];
  for (const a of axes) {
    const n = sizes[a] as number;
    const at = n <= 8 ? Array.from({ length: n }, (_, i) => i) : [0, 1, 2, Math.floor(n / 3), Math.floor(n / 2), n - 2, n - 1];
    out = out.flatMap((p) => at.map((i) => ({ ...p, [a]: i }))).slice(0, 512);
  }
  return out;
}
