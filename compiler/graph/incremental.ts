// Decoding, derived from the training expression: the same graph for a chunk of new positions, with everything that
// attention needs of earlier positions kept in caches.
//
// Axes of time are of two kinds (time-axes.ts): a chunk axis has the new positions, its indices shifted by `start`; a
// history axis has all positions so far. A value with a history axis and no chunk axis (keys, values, MLA's latents) is
// computed for the new positions only, written into its cache at `start`, and read back whole: the cache lies as late as
// possible, at the last value before queries meet keys, after weights that the query may take over have moved to it
// (absorb.ts). Whatever mixes positions in another way (a shift, a scan or a fold over time) cannot be computed from a
// chunk and is refused.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import * as build from "../../dsl/build.js";
import { argsOf, type Extent, type Leaf, type Loop, type Node, type Shape, type UpTo } from "../../dsl/node.js";
import { inherit } from "../../dsl/places.js";
import { arg, call, constant, index, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { type Regions, regions } from "../lower/regions.js";
import { absorb } from "./absorb.js";
import { type Mode, TimeAxes, type TimeNames } from "./time-axes.js";

export interface Decoding extends TimeNames {
  /** Extents: new positions in a run, and all positions after it. */
  readonly fresh: UpTo;
  readonly whole: UpTo;
  /** i32 scalars: the first new position, and how many there are. */
  readonly start: Leaf;
  readonly count: Leaf;
  /** Positions that a cache holds. */
  readonly capacity: number;
  /** What the caches' names begin with: "cache" unless said. */
  readonly name?: string;
  /** What stands for each input that has an axis of time. */
  readonly inputs: ReadonlyMap<Leaf, Leaf>;
}
export interface Incremental {
  readonly value: Node;
  readonly caches: readonly { readonly leaf: Leaf; readonly value: Node }[];
}
export interface IncrementalError {
  readonly kind: "IncrementalError";
  readonly message: string;
  readonly hint: string;
  readonly node: Node;
}

class Refused {
  constructor(readonly error: IncrementalError) {}
}

export function incremental(root: Node, d: Decoding): Either<IncrementalError, Incremental> {
  try {
    return right(new Transform(absorb(root, d), d).result());
  } catch (e) {
    if (e instanceof Refused) return left(e.error);
    throw e;
  }
}

interface Cache {
  readonly leaf: Leaf;
  /** Inside a loop: the cache of this iteration. */
  readonly slice: Leaf | undefined;
  readonly next: Node;
}

class Transform {
  readonly #regions: Regions;
  readonly #order: readonly Node[];
  readonly #built = new Map<string, Node>();
  readonly #wanted = new Map<Node, Set<Mode>>();
  readonly #varies = new Set<Node>();
  readonly #caches = new Map<Loop | null, Cache[]>();
  readonly #loops = new Map<Loop, Loop>();
  readonly #placeholders = new Map<Leaf, Leaf>();
  readonly #time: TimeAxes;
  #names = 0;

  constructor(
    readonly root: Node,
    readonly d: Decoding,
  ) {
    this.#regions = regions([root]);
    this.#order = this.#regions.order;
    this.#time = new TimeAxes(this.#regions, d);
    for (const n of this.#order)
      if ((n.op === "leaf" && (n.role === "input" || n.role === "bound")) || argsOf(n).some((a) => this.#varies.has(a))) this.#varies.add(n);
  }

  result(): Incremental {
    this.#request();
    for (const n of this.#order)
      for (const mode of ["chunk", "history"] as const) {
        if (!this.#wanted.get(n)?.has(mode)) continue;
        const made = this.#cached(n, mode) ? this.#cache(n) : this.#make(n, mode);
        inherit(made, n);
        this.#built.set(`${n.id} ${mode}`, made);
      }
    const caches = [...this.#caches].flatMap(([loop, list]) =>
      list.map((c) => ({ leaf: c.leaf, value: loop ? build.emit(this.#loops.get(loop) as Loop, c.next) : c.next })),
    );
    return { value: this.#get(this.root, "chunk"), caches };
  }

  // ── axes of time ───────────────────────────────────────────────────────────────────────────────────
  #hasHistory = (n: Node): boolean => this.#time.has(n, "history");
  #hasChunk = (n: Node): boolean => this.#time.has(n, "chunk");
  #ofTime = (n: Node, axis: string): boolean => this.#time.of(n).has(axis);
  #isHistory = (n: Node, axis: string): boolean => this.#time.of(n).get(axis) === "history";
  #cached = (n: Node, mode: Mode): boolean => mode === "history" && !this.#hasChunk(n) && this.#varies.has(n);
  #argMode(n: Node, mode: Mode, a: Node): Mode {
    if (!this.#hasHistory(a)) return "chunk";
    return this.#hasHistory(n) && !this.#hasChunk(n) ? mode : "history";
  }
  #refuse(n: Node, what: string): never {
    throw new Refused({
      kind: "IncrementalError",
      node: n,
      message: `this expression cannot be decoded position by position: ${what}`,
      hint: `positions may meet only in folds over ${this.d.history.map((a) => `"${a}"`).join(", ")} of values that also have ${this.d.chunk.map((a) => `"${a}"`).join(" or ")}`,
    });
  }

  // ── what is asked of each node ─────────────────────────────────────────────────────────────────────
  #request(): void {
    const want = (n: Node, mode: Mode) => {
      const m = this.#hasHistory(n) ? mode : "chunk";
      const set = this.#wanted.get(n) ?? new Set<Mode>();
      set.add(m);
      this.#wanted.set(n, set);
    };
    want(this.root, "chunk");
    for (const n of [...this.#order].reverse()) {
      const modes = this.#wanted.get(n);
      if (!modes) continue;
      if (modes.has("history") && this.#cached(n, "history")) modes.add("chunk");
      for (const mode of modes) {
        if (this.#cached(n, mode)) continue;
        if (n.op === "carry" || n.op === "emit") {
          const live = this.#regions.carries.get(n.loop) as ReadonlySet<number>;
          for (const i of live) for (const x of [n.loop.init[i], n.loop.next[i], n.loop.carry[i]] as Node[]) want(x, "chunk");
          if (n.op === "emit") want(n.of, "chunk");
          continue;
        }
        if (n.op === "leaf") {
          const l = this.#regions.owner.get(n);
          const k = l ? l.slices.indexOf(n) : -1;
          if (l && k >= 0) want(l.xs[k] as Node, "chunk");
          continue;
        }
        for (const a of argsOf(n)) want(a, this.#argMode(n, mode, a));
      }
    }
  }
  #get(n: Node, mode: Mode): Node {
    return this.#built.get(`${n.id} ${this.#hasHistory(n) ? mode : "chunk"}`) as Node; // order and #request agree
  }

  // ── building ───────────────────────────────────────────────────────────────────────────────────────
  #extent(n: Node, axis: string, mode: Mode): UpTo {
    return this.#isHistory(n, axis) && mode === "history" ? this.d.whole : this.d.fresh;
  }
  /** `of`: the node whose axes these are. */
  #shape(of: Node, s: Shape, mode: Mode): Shape {
    return Object.fromEntries(Object.entries(s).map(([a, e]) => [a, this.#ofTime(of, a) ? this.#extent(of, a, mode) : e]));
  }
  /** Indices of new positions count from `start`; sizes stay those of the whole expression. */
  #body(n: Node, body: Scalar, mode: Mode): Scalar {
    return substitute(body, (leaf) => {
      if (leaf.kind === "index" && this.#ofTime(n, leaf.axis) && this.#extent(n, leaf.axis, mode) === this.d.fresh)
        return call("add", leaf, arg("start of chunk"));
      if (leaf.kind === "size" && this.#ofTime(n, leaf.axis)) {
        const e = n.axes[leaf.axis];
        return typeof e === "number" ? constant(e) : undefined;
      }
      return undefined;
    });
  }

  #make(n: Node, mode: Mode): Node {
    const args = n.op === "carry" || n.op === "emit" || n.op === "leaf" ? [] : argsOf(n).map((a) => this.#get(a, this.#argMode(n, mode, a)));
    const x = args[0] as Node;
    switch (n.op) {
      case "leaf":
        return this.#leaf(n, mode);
      case "constant":
        return n;
      case "map": {
        if (n.body.kind !== "scalar") throw new Error("incremental: arrows are read before");
        const body = this.#body(n, n.body.body, mode);
        const inputs = Object.fromEntries(n.names.map((name, i) => [name, args[i] as Node]));
        const shifted = body !== n.body.body && usesStart(body);
        return build.map(
          shifted ? { ...inputs, "start of chunk": this.d.start } : inputs,
          { kind: "scalar", body },
          n.dtype,
          this.#shape(n, n.axes, mode),
        );
      }
      case "view": {
        if (n.index.kind !== "scalar") throw new Error("incremental: arrows are read before");
        for (const r of n.reads) {
          const s = n.index.at[r] as Scalar;
          const plain = s.kind === "index" && this.#ofTime(n, s.axis);
          if (this.#ofTime(n.args[0], r) && !plain) this.#refuse(n, `positions along "${r}" are shifted or picked`);
        }
        const used = Object.entries(n.index.at).filter(([r]) => !this.#ofTime(n.args[0], r));
        if (used.some(([, s]) => mentionsTime(s, (a) => this.#ofTime(n, a)))) this.#refuse(n, "another axis is indexed by the position");
        return build.view(x, this.#shape(n, n.fresh, mode), n.index, n.reads);
      }
      case "at":
        for (const a of n.along) if (this.#ofTime(n.args[0], a)) this.#refuse(n, `positions along "${a}" are picked by an index tensor`);
        return build.at(x, n.along, args.slice(1));
      case "fold":
        for (const o of n.over) {
          if (n.args.some((a) => this.#time.of(a).get(o) === "chunk")) this.#refuse(n, `it folds over "${o}"`);
          if (n.args.some((a) => this.#isHistory(a, o)) && !n.args.some((a) => this.#hasChunk(a)))
            this.#refuse(n, `it folds over all of "${o}", also what comes later`);
        }
        return build.withArgs(n, args);
      case "scan":
        if (n.args.some((a) => this.#ofTime(a, n.over))) this.#refuse(n, `it scans along "${n.over}"`);
        return build.withArgs(n, args);
      case "top":
        if (this.#time.of(n.args[0]).get(n.over) === "chunk") this.#refuse(n, `it selects along "${n.over}"`);
        return build.withArgs(n, args);
      case "random":
        if (Object.keys(n.axes).some((a) => this.#ofTime(n, a))) this.#refuse(n, "it draws random numbers for each position");
        return build.withArgs(n, args);
      case "cast":
      case "stop":
        return build.withArgs(n, args);
      case "label":
        return build.label(x, n.name, n.path, []);
      case "grad":
      case "rate":
      case "bound":
        throw new Error(`incremental: ${n.op} is expanded before`);
      case "carry":
        return build.carry(this.#loop(n.loop), this.#live(n.loop).indexOf(n.index));
      case "emit":
        return build.emit(this.#loop(n.loop), this.#get(n.of, "chunk"));
    }
  }

  #leaf(n: Leaf, mode: Mode): Node {
    const given = this.d.inputs.get(n);
    if (given) return given;
    const l = this.#regions.owner.get(n);
    if (l) {
      if (n === l.counter) return n;
      const i = l.carry.indexOf(n);
      const from = i >= 0 ? this.#get(l.init[i] as Node, "chunk") : this.#get(l.xs[l.slices.indexOf(n)] as Node, "chunk");
      const axes = i >= 0 ? from.axes : build.without(from.axes, [l.axis]);
      const made = build.leaf("bound", n.name, axes, n.dtype);
      this.#placeholders.set(n, made);
      return made;
    }
    const times = Object.keys(n.axes).filter((a) => this.#ofTime(n, a));
    if (times.length === 0) return n;
    if (n.role === "input") this.#refuse(n, `the input with axes ${build.showShape(n.axes)} has a position axis, and nothing stands for it`);
    // A table over positions: its rows from `start` on.
    const [axis] = times as [string];
    if (times.length > 1) this.#refuse(n, `a table has several axes of positions: ${build.showShape(n.axes)}`);
    const at = build.map(
      { "start of chunk": this.d.start },
      { kind: "scalar", body: this.#extent(n, axis, mode) === this.d.fresh ? call("add", index(axis), arg("start of chunk")) : index(axis) },
      "f32",
      { [axis]: this.#extent(n, axis, mode) },
    );
    return build.at(n, [axis], [build.cast(at, "i32")]);
  }

  #live = (l: Loop): readonly number[] => [...(this.#regions.carries.get(l) as ReadonlySet<number>)].sort((a, b) => a - b);
  #loop(l: Loop): Loop {
    const known = this.#loops.get(l);
    if (known) return known;
    if ((this.#caches.get(l) ?? []).length > 0 && this.#regions.parent.get(l))
      this.#refuse(l.next[0] as Node, "its cache would lie in a loop inside a loop");
    const caches = this.#caches.get(l) ?? [];
    // What nothing asks for is left out: it was not rebuilt, and stands on placeholders that are no longer bound.
    const live = <T>(list: readonly T[]): readonly T[] => this.#live(l).map((i) => list[i] as T);
    const made = build.reloop(
      {
        ...l,
        carry: live(l.carry).map((c) => this.#placeholders.get(c) ?? c),
        slices: [...l.slices.map((s) => this.#placeholders.get(s) ?? s), ...caches.map((c) => c.slice as Leaf)],
      },
      {
        init: live(l.init).map((n) => this.#get(n, "chunk")),
        next: live(l.next).map((n) => this.#get(n, "chunk")),
        xs: [...l.xs.map((n) => this.#built.get(`${n.id} chunk`) ?? n), ...caches.map((c) => c.leaf)],
      },
    );
    this.#loops.set(l, made);
    return made;
  }

  /** The whole history of n: what is kept of it, with the new positions written in. */
  #cache(n: Node): Node {
    const loop = this.#regions.home.get(n) ?? null;
    const axis = Object.keys(n.axes).find((a) => this.#isHistory(n, a)) as string;
    const fresh = this.#get(n, "chunk");
    const sized = (stacked: Shape): Shape => ({
      ...stacked,
      ...Object.fromEntries(Object.entries(n.axes).map(([a, e]): [string, Extent] => [a, a === axis ? this.d.capacity : e])),
    });
    const name = `${this.d.name ?? "cache"}.${this.#names++}`;
    const leaf = build.leaf("state", name, sized(loop ? { [loop.axis]: loop.count } : {}), n.dtype);
    const slice = loop ? build.leaf("bound", name, sized({}), n.dtype) : undefined;
    const old = slice ?? leaf;
    const inputs = { start: this.d.start, count: this.d.count };
    const offset = call("sub", index(axis), arg("start"));
    const place = build.cast(build.map(inputs, { kind: "scalar", body: offset }, "f32", { [axis]: this.d.capacity }), "i32");
    const isNew = call("and", call("ge", offset, constant(0)), call("lt", offset, arg("count")));
    const next = build.map(
      { ...inputs, old, fresh: build.at(fresh, [axis], [place]) },
      { kind: "scalar", body: call("select", isNew, arg("fresh"), arg("old")) },
      n.dtype,
      old.axes,
    );
    this.#caches.set(loop, [...(this.#caches.get(loop) ?? []), { leaf, slice, next }]);
    return build.view(next, { [axis]: this.d.whole }, { kind: "scalar", at: { [axis]: index(axis) } }, [axis]);
  }
}

const usesStart = (s: Scalar): boolean => terms([s]).some((t) => t.kind === "arg" && t.name === "start of chunk");
const mentionsTime = (s: Scalar, ofTime: (a: string) => boolean): boolean => terms([s]).some((t) => t.kind === "index" && ofTime(t.axis));
