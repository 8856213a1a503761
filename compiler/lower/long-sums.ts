// Sums of many terms with few results ("split-K"): a contraction whose results are fewer than blocks enough to go round
// is divided along its sum. One kernel makes the sum of each chunk of 256 terms, as one batch more of a contraction, and a
// point-wise one adds a result's chunks in their order and stores what becomes of it.
//
// Bits: that is the tree that every contraction has (loop/product.ts): a chain from 0 in each chunk, chunks added in order.
import { apply, type Buffer, buffer, type Expr, int, load, local, maxOf, variable } from "./expr.js";
import { iadd, imul, substituted } from "./ints.js";
import { type Axis, CHUNK, type Nest, type Step } from "./nest.js";

type Contract = Nest & { form: "contract" };

/** Chunks that are worth two kernels, and that one expression adds. */
const LEAST = 4;
const MOST = 64;
/** Blocks of 12 × 32 results in either direction: as many keep some threads busy. */
const BLOCKS = 8;
const [ROWS, COLUMNS] = [12, 32];
/** Multiplications and additions that outweigh a barrier and another pass over the chunks' sums. */
const WORK = 4e6;

/** `unique` names what is new; `made` is told of each temporary. */
export function divideLongSums(steps: readonly Step[], unique: (name: string) => string, made: (b: Buffer) => void): readonly Step[] {
  // Loops within loops, from the inside: what is done to a body is known when its loop's turn comes.
  const done = new Map<Step, Step>();
  const stack: { readonly step: Step; readonly ready: boolean }[] = [...steps].reverse().map((step) => ({ step, ready: false }));
  const divided = (list: readonly Step[]) =>
    list.flatMap((s): readonly Step[] =>
      s.step === "loop" ? [done.get(s) as Step] : divide(s.nest, unique, made).map((nest) => (nest === s.nest ? s : { step: "nest", nest })),
    );
  for (let at = stack.pop(); at; at = stack.pop()) {
    const { step, ready } = at;
    if (step.step === "nest") continue;
    if (ready) {
      const body = divided(step.body);
      done.set(step, body.every((s, i) => s === step.body[i]) && body.length === step.body.length ? step : { ...step, body });
    } else stack.push({ step, ready: true }, ...step.body.map((s) => ({ step: s, ready: false })));
  }
  return divided(steps);
}

function divide(nest: Nest, unique: (name: string) => string, made: (b: Buffer) => void): readonly Nest[] {
  if (nest.form !== "contract" || !worthwhile(nest)) return [nest];
  const cut = chunksOf(nest.k, unique);
  if (!cut) return [nest];
  const to = (e: Expr) => substituted(e, cut.to);
  // Chunks' sums lie as their results will, so that both are walked alike.
  const results = [...nest.batch, ...inOrderOfResult(nest)];
  const partial = buffer(
    unique(`${nest.name}_chunks`),
    "f32",
    [...cut.chunks, ...results].map((a) => ({ name: a.v, extent: a.extent })),
    "temp",
  );
  made(partial);
  const at = (chunk: readonly Expr[]) => [...chunk, ...results.map((a) => variable(a.v))];
  const sums: Contract = {
    ...nest,
    name: unique(`${nest.name}_chunk`),
    batch: [...cut.chunks, ...nest.batch],
    k: cut.terms,
    a: to(nest.a),
    b: to(nest.b),
    stores: [{ buffer: partial, index: at(cut.chunks.map((c) => variable(c.v))), value: local("sum", "real") }],
  };
  const whole = numbersOf(cut.chunks)
    .map((chunk) => load(partial, at(chunk.map(int))))
    .reduce((sum, x) => apply("add", "real", sum, x));
  const renamed = new Map(results.map((a) => [a.v, variable(unique(a.v))]));
  const finish = (e: Expr) => substituted(e, renamed, (p) => (p.kind === "local" && p.name === "sum" ? substituted(whole, renamed) : undefined));
  const end: Nest = {
    form: "map",
    name: nest.name,
    nodes: nest.nodes,
    axes: results.map((a) => ({ ...a, v: (renamed.get(a.v) as Expr & { kind: "var" }).name })),
    stores: nest.stores.map((s) => ({ buffer: s.buffer, index: s.index.map(finish), value: finish(s.value) })),
  };
  return [sums, end];
}

const size = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * maxOf(a.extent), 1);
function worthwhile(n: Contract): boolean {
  const axes = [n.batch, n.m, n.n, n.k];
  if (axes.flat().some((a) => typeof a.extent !== "number")) return false;
  const [batch, rows, columns, terms] = axes.map(size) as [number, number, number, number];
  const chunks = terms / CHUNK;
  const blocks = batch * Math.max(Math.ceil(rows / ROWS), Math.ceil(columns / COLUMNS));
  return chunks >= LEAST && chunks <= MOST && blocks < BLOCKS && 2 * batch * rows * columns * terms >= WORK;
}

interface Cut {
  readonly chunks: readonly Axis[];
  readonly terms: readonly Axis[];
  readonly to: ReadonlyMap<string, Expr>;
}
/** The axes of a sum as chunks of 256 terms in row-major order, where its extents allow. */
function chunksOf(k: readonly Axis[], unique: (name: string) => string): Cut | undefined {
  const to = new Map<string, Expr>();
  const terms: Axis[] = [];
  let inner = 1;
  for (let i = k.length - 1; i >= 0; i--) {
    const axis = k[i] as Axis;
    const extent = maxOf(axis.extent);
    if (inner * extent < CHUNK) {
      terms.unshift(axis);
      inner *= extent;
      continue;
    }
    const width = CHUNK / inner;
    if (!Number.isInteger(width) || extent % width !== 0) return undefined;
    if (width === 1) return { chunks: k.slice(0, i + 1), terms, to };
    const [c, r] = [unique(`${axis.v}_chunk`), unique(axis.v)];
    to.set(axis.v, iadd(imul(variable(c), int(width)), variable(r)));
    return { chunks: [...k.slice(0, i), { v: c, extent: extent / width }], terms: [{ v: r, extent: width }, ...terms], to };
  }
  return undefined;
}
/** Row-major. */
function numbersOf(axes: readonly Axis[]): readonly (readonly number[])[] {
  return axes.reduce<readonly (readonly number[])[]>(
    (all, a) => all.flatMap((at) => Array.from({ length: maxOf(a.extent) }, (_, i) => [...at, i])),
    [[]],
  );
}
/** The axes of both sides, those last that neighbouring results lie along. */
function inOrderOfResult({ m, n, stores }: Contract): readonly Axis[] {
  const last = stores[0]?.index.at(-1);
  const own = new Set<string>();
  for (const todo = last ? [last] : []; todo.length > 0; ) {
    const e = todo.pop() as Expr;
    if (e.kind === "var") own.add(e.name);
    if (e.kind === "call") todo.push(...e.args);
  }
  return m.some((a) => own.has(a.v)) ? [...n, ...m] : [...m, ...n];
}
