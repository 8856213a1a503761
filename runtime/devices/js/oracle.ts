// The f64 oracle: evaluates an expanded graph densely, one Float64Array a value, in f64 throughout; a cast rounds where
// the author wrote one. What the author wrote as functions is executed as it stands. This is the reference for every
// target, so it takes no shortcut that could be wrong, only three that cannot: views that rename, and broadcasts, share
// memory; a map that only a fold reads is evaluated inside it; loops run one body's code again.

import { capturedNodes, isLoopNode, order, type Scopes, scopes } from "../../../compiler/graph/walk.js";
import { atKernel, type Context, copier, foldKernel, mapKernel, type Original, scanKernel, viewKernel } from "../../../compiler/targets/js/kernel.js";
import { dense, elements, type Sizes, type Slot } from "../../../compiler/targets/js/slot.js";
import { fold as makeFold, scan as makeScan } from "../../../dsl/build.js";
import { argsOf, type Extent, type Leaf, type Loop, type Node, type TopNode, UpTo } from "../../../dsl/node.js";
import { type Primitive, evaluate as primitive } from "../../../dsl/primitives.js";
import { keyWords, normalAt, uniformAt } from "../../../dsl/random.js";

export type Originals = ReadonlyMap<Node, Original>;
/** An input that is missing, of the wrong length, or an extent that is not given. */
export class OracleError extends Error {
  override readonly name = "OracleError";
}

/** The value of each root, row-major in its own axis order over the run-time extents. Leaves' arrays are row-major over
 *  these extents too. `originals`: the functions behind nodes that have been read. */
export function evaluate(
  roots: readonly Node[],
  env: ReadonlyMap<Leaf, Float64Array>,
  extents: ReadonlyMap<UpTo, number> = new Map(),
  originals: Originals = new Map(),
): readonly Float64Array[] {
  return new Evaluation(roots, env, extents, originals).run();
}
/** The same as a function of the leaves' arrays, to be called again and again: the code is printed, and warmed up, once.
 *  Values lie where they are between two calls, unless they are many. */
export function evaluator(
  roots: readonly Node[],
  extents: ReadonlyMap<UpTo, number>,
  originals: Originals,
): (env: ReadonlyMap<Leaf, Float64Array>) => readonly Float64Array[] {
  let kept: { readonly env: ReadonlyMap<Leaf, Float64Array>; readonly evaluation: Evaluation } | undefined;
  return (env) => {
    if (!kept || [...env].some(([l, data]) => kept?.env.get(l)?.length !== data.length)) {
      const own = new Map([...env].map(([l, data]) => [l, data.slice()]));
      kept = { env: own, evaluation: new Evaluation(roots, own, extents, originals) };
    } else for (const [l, data] of env) kept.env.get(l)?.set(data);
    const { evaluation } = kept;
    const values = evaluation.run();
    if (evaluation.stored > KEPT) kept = undefined;
    return values;
  };
}
/** Numbers (32 MB of them) that an evaluator holds on to. */
const KEPT = 2 ** 22;

class Evaluation {
  readonly #slots = new Map<Node, Slot>();
  readonly #scope: Scopes;
  readonly #inlined = new Set<Node>();
  readonly #emitted = new Map<Loop, Set<Node>>();
  readonly #results = new Map<Loop, Node[]>();
  readonly #loopsDone = new Set<Loop>();
  readonly #context: Context;
  #steps: readonly (() => void)[] | undefined;
  /** Numbers for which room was made. */
  stored = 0;
  constructor(
    readonly roots: readonly Node[],
    readonly env: ReadonlyMap<Leaf, Float64Array>,
    readonly extents: ReadonlyMap<UpTo, number>,
    readonly originals: Originals,
  ) {
    const all = order(roots);
    this.#scope = scopes(all);
    for (const n of all) {
      if (!isLoopNode(n)) continue;
      const of = this.#emitted.get(n.loop) ?? new Set();
      if (n.op === "emit") of.add(n.of);
      this.#emitted.set(n.loop, of);
      this.#results.set(n.loop, [...(this.#results.get(n.loop) ?? []), n]);
    }
    this.#context = {
      sizes: (n) => this.sizes(n),
      slot: (n) => this.slot(n),
      original: (n) => originals.get(n) ?? unread(n),
      inlined: (n) => this.#inlined.has(n),
    };
    this.#chooseInlined(all);
  }

  run(): readonly Float64Array[] {
    this.#steps ??= this.#compile(this.#region(this.roots));
    for (const step of this.#steps) step();
    return this.roots.map((r) => {
      const out = dense(this.sizes(r));
      copier(this.slot(r), out, this.sizes(r))(0, 0);
      return out.data;
    });
  }

  extent(e: Extent): number {
    if (!(e instanceof UpTo)) return e;
    const n = this.extents.get(e);
    if (n === undefined || !Number.isInteger(n) || n < 0 || n > e.max)
      throw new OracleError(`the extent of ${e.name} (upTo ${e.max}) is ${n}: a whole number from 0 to ${e.max} is wanted`);
    return n;
  }
  sizes(n: Node): Sizes {
    return Object.fromEntries(Object.entries(n.axes).map(([a, e]) => [a, this.extent(e)]));
  }
  slot(n: Node): Slot {
    const s = this.#slots.get(n);
    if (!s) throw new Error(`js: ${n.op} ${n.id} is read before it is computed`);
    return s;
  }

  /** Nodes of the region, parts before wholes; a loop's results come after all that any of them needs. */
  #region(targets: readonly Node[], inside: (n: Node) => boolean = () => true): readonly Node[] {
    // All of a loop is compiled at its first result: what any of its emitted values captures comes before.
    const parts = (n: Node): readonly Node[] => {
      if (!isLoopNode(n)) return argsOf(n).filter(inside);
      const outside = capturedNodes(n.loop, [...n.loop.next, ...(this.#emitted.get(n.loop) ?? [])], this.#scope);
      return [...n.args, ...outside].filter(inside);
    };
    return order(targets.filter(inside), parts);
  }

  /** A map with one reader, a fold over exactly the map's axes, in the same region (or a map that is itself inlined so). */
  #chooseInlined(all: readonly Node[]): void {
    const readers = new Map<Node, Node[]>();
    const stored = new Set<Node>(this.roots);
    for (const n of all) {
      for (const a of argsOf(n)) readers.set(a, [...(readers.get(a) ?? []), n]);
      if (isLoopNode(n)) for (const m of [...n.loop.init, ...n.loop.xs, ...n.loop.next, ...(n.op === "emit" ? [n.of] : [])]) stored.add(m);
    }
    for (const n of [...all].reverse()) {
      const [reader, ...more] = readers.get(n) ?? [];
      if (n.op !== "map" || stored.has(n) || !reader || more.length > 0) continue;
      const fits = reader.op === "fold" || (reader.op === "map" && this.#inlined.has(reader));
      const spans = new Set(reader.op === "fold" ? reader.args.flatMap((a) => Object.keys(a.axes)) : Object.keys(reader.axes));
      const home = (m: Node) =>
        [...(this.#scope.get(m) ?? [])]
          .map((l) => l.id)
          .sort()
          .join();
      if (fits && spans.size === Object.keys(n.axes).length && home(n) === home(reader)) this.#inlined.add(n);
    }
  }

  #compile(nodes: readonly Node[]): readonly (() => void)[] {
    const steps: (() => void)[] = [];
    for (const n of nodes) {
      if (this.#slots.has(n) || this.#inlined.has(n)) continue;
      const step = this.#node(n);
      if (step) steps.push(step);
    }
    return steps;
  }
  #store(n: Node): Slot {
    const s = dense(this.sizes(n));
    this.stored += s.data.length;
    this.#slots.set(n, s);
    return s;
  }
  #share(n: Node, s: Slot): null {
    this.#slots.set(n, s);
    return null;
  }

  /** Gives n its place; what has to run to fill it, if anything. */
  #node(n: Node): (() => void) | null {
    const c = this.#context;
    switch (n.op) {
      case "leaf": {
        const data = this.env.get(n);
        const length = elements(this.sizes(n));
        if (!data) throw new OracleError(`no value for ${n.role} "${n.name}"`);
        if (data.length !== length) throw new OracleError(`${n.role} "${n.name}" has ${data.length} elements for ${length}`);
        return this.#share(n, dense(this.sizes(n), data));
      }
      case "constant":
        return this.#share(n, { data: Float64Array.of(Number(n.value)), offset: 0, strides: {} });
      case "map": {
        if (n.body.kind === "scalar" && n.body.body.kind === "arg" && !this.originals.has(n)) {
          const x = n.args[n.names.indexOf(n.body.body.name)] as Node;
          const from = this.slot(x);
          return this.#share(n, { ...from, strides: Object.fromEntries(Object.keys(n.axes).map((a) => [a, from.strides[a] ?? 0])) });
        }
        return mapKernel(n, this.#store(n), c);
      }
      case "view": {
        const shared = this.#renaming(n);
        return shared ? this.#share(n, shared) : viewKernel(n, this.#store(n), c);
      }
      case "at": {
        if (!n.args.slice(1).every((i) => i.op === "constant")) return atKernel(n, this.#store(n), c);
        const from = this.slot(n.args[0]);
        const strides = { ...from.strides };
        let offset = from.offset;
        for (const [k, a] of n.along.entries()) {
          const i = Number((n.args[k + 1] as Extract<Node, { op: "constant" }>).value);
          if (i < 0 || i >= (this.sizes(n.args[0])[a] as number)) return atKernel(n, this.#store(n), c);
          offset += i * (strides[a] as number);
          delete strides[a];
        }
        return this.#share(n, { data: from.data, offset, strides });
      }
      case "fold":
      case "scan": {
        const xs = Object.fromEntries(Object.keys(n.monoid.empty).map((f, i) => [f, n.args[i] as Node]));
        const all: Record<string, number> = Object.assign({}, ...n.args.map((a) => this.sizes(a)));
        const siblings: readonly Node[] = Object.values(n.op === "fold" ? makeFold(xs, n.monoid, n.over) : makeScan(xs, n.monoid, n.over, n));
        const outs = siblings.map((s) => this.#store(s));
        // A sibling that nobody else made has no entry of its own among the originals: the one at hand speaks for all.
        return n.op === "fold" ? foldKernel(n, all, outs, c) : scanKernel(n, all, outs, c);
      }
      case "top":
        return this.#top(n, this.#store(n));
      case "random": {
        const out = this.#store(n);
        const draw = n.kind === "uniform" ? uniformAt : normalAt;
        return () => {
          const words = keyWords(
            n.key,
            n.args.map((a) => this.slot(a).data[this.slot(a).offset] as number),
          );
          for (let i = 0; i < out.data.length; i++) out.data[i] = draw(words, i);
        };
      }
      case "cast": {
        const rounding = casts[n.dtype];
        const from = n.args[0].dtype;
        if (rounding === null || from === "bool") return this.#share(n, this.slot(n.args[0]));
        const out = this.#store(n);
        const copy = copier(this.slot(n.args[0]), out, this.sizes(n));
        return () => {
          copy(0, 0);
          for (let i = 0; i < out.data.length; i++) out.data[i] = Number(primitive(rounding, [out.data[i] as number]));
        };
      }
      case "stop":
      case "label":
        return this.#share(n, this.slot(n.args[0]));
      case "carry":
      case "emit":
        return this.#loopsDone.has(n.loop) ? null : this.#loop(n.loop);
      case "grad":
      case "rate":
      case "bound":
        throw new Error(`js: ${n.op} must be expanded before it is evaluated`);
    }
  }
  /** A view that only names axes anew, or permutes them. */
  #renaming(n: Extract<Node, { op: "view" }>): Slot | null {
    if (n.index.kind !== "scalar" || this.originals.has(n)) return null;
    const [x] = n.args;
    const from = this.slot(x);
    const sizes = this.sizes(n);
    const strides: Record<string, number> = {};
    for (const a of Object.keys(x.axes)) if (!n.reads.includes(a)) strides[a] = from.strides[a] as number;
    for (const [a, s] of Object.entries(n.index.at)) {
      if (s.kind !== "index" || s.axis in strides || this.sizes(x)[a] !== sizes[s.axis]) return null;
      strides[s.axis] = from.strides[a] as number;
    }
    for (const f of Object.keys(n.fresh)) strides[f] ??= 0;
    return { data: from.data, offset: from.offset, strides };
  }

  #loop(l: Loop): () => void {
    this.#loopsDone.add(l);
    const emitted = [...(this.#emitted.get(l) ?? [])];
    const targets = [...l.next, ...emitted];
    for (const p of [...l.carry, ...l.slices, l.counter]) this.#store(p);
    const body = this.#compile(this.#region(targets, (n) => this.#scope.get(n)?.has(l) === true));
    // What a body node is made of may itself be inlined or shared; all of it has a place now.
    const slices = l.slices.map((s, k) => {
      const x = this.slot(l.xs[k] as Node);
      const step = x.strides[l.axis] as number;
      const copy = copier(x, this.slot(s), this.sizes(s));
      return (i: number) => copy(i * step, 0);
    });
    const inits = l.carry.map((c, k) => copier(this.slot(l.init[k] as Node), this.slot(c), this.sizes(c)));
    const parked = l.carry.map((c) => dense(this.sizes(c)));
    const park = l.carry.map((c, k) => copier(this.slot(l.next[k] as Node), parked[k] as Slot, this.sizes(c)));
    const take = l.carry.map((c, k) => copier(parked[k] as Slot, this.slot(c), this.sizes(c)));
    const stacks = new Map<Node, (i: number) => void>();
    for (const n of this.#results.get(l) ?? []) {
      if (n.op === "carry") {
        this.#slots.set(n, this.slot(l.carry[n.index] as Node));
        continue;
      }
      if (n.op !== "emit") continue;
      const out = this.#store(n);
      const copy = copier(this.slot(n.of), out, this.sizes(n.of));
      const step = out.strides[l.axis] as number;
      stacks.set(n, (i) => copy(0, i * step));
    }
    const counter = this.slot(l.counter).data;
    return () => {
      for (const f of inits) f(0, 0);
      for (let k = 0; k < l.count; k++) {
        const i = l.reverse ? l.count - 1 - k : k;
        counter[0] = i;
        for (const f of slices) f(i);
        for (const f of body) f();
        for (const f of stacks.values()) f(i);
        for (const f of park) f(0, 0);
        for (const f of take) f(0, 0);
      }
    };
  }

  #top(n: TopNode, out: Slot): () => void {
    const [x] = n.args;
    const from = this.slot(x);
    const sizes = this.sizes(x);
    const length = sizes[n.over] as number;
    const rows = Object.entries(sizes).filter(([a]) => a !== n.over);
    const along = n.field === "chosen" ? n.over : n.slot;
    return () => {
      const count = rows.reduce((p, [, s]) => p * s, 1);
      for (let r = 0; r < count; r++) {
        let rest = r;
        let source = from.offset;
        let target = out.offset;
        for (const [a, s] of [...rows].reverse()) {
          source += (rest % s) * (from.strides[a] as number);
          target += (rest % s) * (out.strides[a] as number);
          rest = Math.floor(rest / s);
        }
        const at = (i: number) => from.data[source + i * (from.strides[n.over] as number)] as number;
        const best = Array.from({ length }, (_, i) => i)
          .sort((i, j) => (at(j) > at(i) ? 1 : at(j) < at(i) ? -1 : i - j))
          .slice(0, n.k);
        const put = (i: number, v: number) => {
          out.data[target + i * (out.strides[along] as number)] = v;
        };
        if (n.field === "chosen") {
          for (let i = 0; i < length; i++) put(i, 0);
          for (const i of best) put(i, 1);
        } else {
          // Fewer elements than slots (a short run-time extent): index −1, which every gather reads as outside.
          for (let s = 0; s < n.k; s++) put(s, n.field === "index" ? (best[s] ?? -1) : s < best.length ? at(best[s] as number) : -Infinity);
        }
      }
    };
  }
}
const casts: Readonly<Record<Node["dtype"], Primitive | null>> = {
  f32: "toF32",
  f64: null,
  bf16: "toBf16",
  f16: "toF16",
  i32: "toI32",
  bool: "toBool",
};

/** An arrow that has not been read is its own original. */
function unread(n: Node): Original | undefined {
  if (n.op === "map" && n.body.kind === "arrow") return { ...n.body, kind: "map", bare: n.names.length === 1 && n.names[0] === "" };
  if (n.op === "view" && n.index.kind === "arrow") return { ...n.index, kind: "view" };
  if ((n.op === "fold" || n.op === "scan") && n.monoid.combine.kind === "arrow") return { kind: "monoid", fn: n.monoid.combine.fn };
  return undefined;
}
