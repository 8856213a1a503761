// Nests that free more memory than they take run as early as what they read allows: a weight's gradient is computed once its
// operands are there, not at the end of the pass. They join the first kernel behind those that they wait for, so that no
// barrier is added; in front of a loop a kernel of its own is worth one where much is freed. A contraction that is finished
// with something later (the gradient of a shared embedding: the output's part before all layers, the input's part after them)
// is computed before, and finished then.
import { type Expr, load, variable } from "./expr.js";
import { substituted } from "./ints.js";
import { conflicts, loadsOf, type Touched, touched } from "./memory.js";
import type { Nest, Step, Store } from "./nest.js";
import { nestsOf } from "./turns.js";
import { type List, Uses } from "./uses.js";

/** Bytes that are worth a barrier. */
const LARGE = 1 << 20;

/** Point-wise kernels that are moved for the sake of one that reads their values, one after another at most. */
const DEEPEST = 2;

interface Member {
  readonly step: Step;
  readonly io: Touched;
}
interface Kernel {
  members: readonly Member[];
  readonly loop: boolean;
}
interface Lift {
  readonly member: Member;
  readonly to: Kernel;
  /** It was a part of this one, of which the rest stays. */
  readonly of?: { readonly whole: Member; readonly rest: Member };
}
type ContractNest = Extract<Nest, { form: "contract" }>;

/** `unique` names what is new. */
export function sooner(steps: readonly Step[], unique: (name: string) => string): readonly Step[] {
  const uses = new Uses(steps);
  const lists = new Map(uses.lists.map((l) => [l.steps, l]));
  const go = (list: readonly Step[]): readonly Step[] => {
    const order = new Order(lists.get(list) as List, uses, unique);
    for (const s of list) order.add(s, s.step === "loop" && !s.blocks ? { ...s, body: go(s.body) } : s);
    return order.steps();
  };
  return go(steps);
}

/** The kernels of a list, as far as it has been looked at. */
class Order {
  readonly #kernels: Kernel[] = [];
  /** Where each nest is now; those of a loop lie where the loop does. */
  readonly #place = new Map<Nest, Kernel>();
  constructor(
    readonly l: List,
    readonly uses: Uses,
    readonly unique: (name: string) => string,
  ) {}
  steps(): readonly Step[] {
    return this.#kernels.flatMap((k) => k.members.map((m) => m.step));
  }

  /** `now`: the same step with an ordered body. */
  add(was: Step, now: Step): void {
    if (was.step === "loop") {
      const k = this.#fresh(this.#kernels.length, true);
      this.#put({ step: now, io: touchedBy(was) }, k);
      for (const { nest } of nestsOf([was])) this.#place.set(nest, k);
      return;
    }
    const n = was.nest;
    const split = n.form === "contract" ? apart(n, this.uses, this.l, this.unique) : undefined;
    if (split) {
      const sum: Member = { step: { step: "nest", nest: split.sum }, io: touched(split.sum) };
      const end: Member = { step: { step: "nest", nest: split.end }, io: touched(split.end) };
      const wait = this.#behind(end);
      const to = this.#sooner(sum, n);
      if (to && this.#kernels.indexOf(to) < wait - 1) {
        this.#put(sum, to);
        this.#place.set(n, to);
        this.#put(end, this.#last(end));
        return;
      }
    }
    const member: Member = { step: was, io: this.uses.io(n) };
    this.#put(member, this.#sooner(member, n) ?? this.#last(member));
  }

  /** Must the two stay in their order? */
  #conflict(x: Member, y: Member): boolean {
    if (!conflicts(x.io, y.io)) return false;
    if (x.step.step === "loop" || y.step.step === "loop") return true;
    const [n, m] = [x.step.nest, y.step.nest];
    const shared = [...x.io.writes, ...x.io.reads].filter((b) => y.io.writes.has(b) || (x.io.writes.has(b) && y.io.reads.has(b)));
    return !shared.every((b) => this.uses.apart(b, n, m, this.l));
  }
  #put(m: Member, k: Kernel): void {
    k.members = [...k.members, m];
    if (m.step.step === "nest") this.#place.set(m.step.nest, k);
  }
  #fresh(at: number, loop: boolean): Kernel {
    const k: Kernel = { members: [], loop };
    this.#kernels.splice(at, 0, k);
    return k;
  }
  /** The kernel that comes next without a change of order. */
  #last(m: Member): Kernel {
    const last = this.#kernels.at(-1);
    return last && !last.loop && !last.members.some((x) => conflicts(x.io, m.io)) ? last : this.#fresh(this.#kernels.length, false);
  }
  /** The number of kernels from the first to the last that must come before. */
  #behind(m: Member): number {
    return this.#kernels.findLastIndex((k) => k.members.some((x) => this.#conflict(x, m))) + 1;
  }
  #free(from: number): number {
    return this.#kernels.findIndex((k, i) => i >= from && !k.loop);
  }

  /** The kernel that it joins, where its memory is worth that; what it needs is moved too, where it must. Undefined: it stays. */
  #sooner(m: Member, n: Nest): Kernel | undefined {
    const found = Array.from({ length: DEEPEST + 1 }, (_, depth) => this.#target(m, n, depth)).filter((t) => t !== undefined);
    const [best] = found.sort((x, y) => x.at - y.at);
    if (!best) return undefined;
    this.#move(best.lifts);
    return best.fresh ? this.#fresh(best.at, false) : this.#kernels[best.at];
  }
  /** `fresh`: a kernel of its own in front of the loop at `at`. */
  #target(m: Member, n: Nest, depth: number): { readonly at: number; readonly fresh: boolean; readonly lifts: readonly Lift[] } | undefined {
    const { from, lifts } = this.#lift(m, depth);
    if (depth > 0 && lifts.length === 0) return undefined;
    const begun = lifts.reduce((sum, x) => sum + this.#begun(x.member.io, nestOf(x.member)), 0);
    const at = this.#free(from);
    const loop = this.#kernels.findIndex((k, i) => i >= from && k.loop && (at < 0 || i < at));
    // What frees much is worth a barrier.
    if (loop >= 0 && this.#freed(m.io, n, loop, lifts) - begun >= LARGE) return { at: loop, fresh: true, lifts };
    if (at < 0 || at >= this.#kernels.length - 1 || this.#freed(m.io, n, at, lifts) <= begun) return undefined;
    return { at, fresh: false, lifts };
  }
  #move(lifts: readonly Lift[]): void {
    for (const { member, to, of } of lifts) {
      const was = this.#place.get(nestOf(of?.whole ?? member)) as Kernel;
      was.members = was.members.flatMap((x) => (x === of?.whole ? [of.rest] : x === member ? [] : [x]));
      if (of) this.#place.set(nestOf(of.rest), was);
      this.#put(member, to);
    }
  }
  /** `whole`: what it is a part of. The first kernel that it could join, if what it waits for went to earlier ones, where only point-wise nests and rows do. */
  #lift(m: Member, depth: number, whole: Member = m): { readonly from: number; readonly lifts: readonly Lift[] } {
    const lifts: Lift[] = [];
    let from = 0;
    // What comes behind its own kernel reads what it writes.
    const own = whole.step.step === "nest" ? this.#place.get(whole.step.nest) : undefined;
    for (let j = (own ? this.#kernels.indexOf(own) : this.#kernels.length) - 1; j >= from; j--) {
      const k = this.#kernels[j] as Kernel;
      const blockers = k.members.filter(
        (x) => x !== m && x !== whole && !lifts.some((l) => l.member === x || l.of?.whole === x) && this.#conflict(x, m),
      );
      if (blockers.length === 0) continue;
      // Where a part of one is enough, that part goes.
      const parts =
        depth > 0 && !k.loop
          ? blockers.map((b) => this.#liftable(b, m)).map((o) => o && { ...o, ...this.#lift(o.member, depth - 1, o.of?.whole) })
          : [];
      const places = parts.map((o) => (o ? this.#free(o.from) : -1));
      if (parts.length === 0 || places.some((p) => p < 0 || p >= j)) {
        from = j + 1;
        break;
      }
      for (const [i, o] of parts.entries()) {
        if (!o) continue;
        const to = places[i] as number;
        for (const l of [...o.lifts, { member: o.member, to: this.#kernels[to] as Kernel, ...(o.of ? { of: o.of } : {}) }])
          if (!lifts.some((x) => x.member === l.member)) lifts.push(l);
        from = Math.max(from, to + 1);
      }
    }
    return { from, lifts };
  }

  /** What of a nest must be moved for another to be: a part that computes what that one reads, or the nest. */
  #liftable(b: Member, reader: Member): Pick<Lift, "member" | "of"> | undefined {
    if (!isCheap(b)) return undefined;
    const n = nestOf(b);
    const own = this.uses.at(n) === undefined ? undefined : partOf(n, reader.io, b.io, this.unique);
    if (!own) return { member: b };
    const [member, rest] = own.map((nest): Member => ({ step: { step: "nest", nest }, io: touched(nest) })) as [Member, Member];
    // All that stood in the way was that part.
    return this.#conflict(rest, reader) ? { member: b } : { member, of: { whole: b, rest } };
  }

  /** Bytes that nobody needs behind kernel k once the nest runs there, less what it brings to life. */
  #freed(io: Touched, n: Nest, k: number, lifts: readonly Lift[]): number {
    const moved = new Map(lifts.map((l) => [nestOf(l.member), l.to]));
    const before = (x: Nest) => {
      const at = moved.get(x) ?? this.#place.get(x);
      return at !== undefined && this.#kernels.indexOf(at) <= k;
    };
    let sum = -this.#begun(io, n);
    for (const b of io.reads) {
      const over = !io.writes.has(b) && this.uses.endsIn(b, this.l) && this.uses.within(b, this.l).every((u) => u.nest === n || before(u.nest));
      if (over) sum += this.uses.bytes(b, this.l);
    }
    return sum;
  }
  #begun(io: Touched, n: Nest): number {
    let sum = 0;
    for (const b of io.writes) {
      const all = this.uses.within(b, this.l);
      // Of a part the whole is known.
      const at = this.uses.at(n) ?? all[0]?.at;
      if (b.role === "temp" && at !== undefined && all.every((u) => u.at >= at)) sum += this.uses.bytes(b, this.l);
    }
    return sum;
  }
}
const nestOf = (m: Member): Nest => (m.step as Extract<Step, { step: "nest" }>).nest;
const isCheap = (m: Member): boolean => m.step.step === "nest" && (m.step.nest.form === "map" || m.step.nest.form === "row");

/** The stores of a point-wise nest or a row's stages that another reads and that need nothing else of it, as a nest of their
 *  own, and the rest. */
function partOf(n: Nest, reader: Touched, io: Touched, unique: (name: string) => string): readonly [Nest, Nest] | undefined {
  if (n.form !== "map" && n.form !== "row") return undefined;
  const stages = n.form === "row" ? n.stages : [{ stage: "map", axes: n.axes, stores: n.stores } as const];
  const wanted = (s: Store) =>
    reader.reads.has(s.buffer) && locals(s.value).length === 0 && !loadsOf([...s.index, s.value]).some((l) => io.writes.has(l.buffer));
  const from = stages.filter((s) => s.stage === "map" && s.stores.some(wanted));
  const [stage] = from;
  if (from.length !== 1 || stage?.stage !== "map") return undefined;
  const stores = stage.stores.filter(wanted);
  const left = stage.stores.filter((s) => !wanted(s));
  const rest = stages.flatMap((s) => (s !== stage ? [s] : left.length > 0 ? [{ ...stage, stores: left }] : []));
  if (!rest.some((s) => s.stage !== "fold" && s.stores.length > 0)) return undefined;
  const axes = [...(n.form === "row" ? n.rows : []), ...stage.axes];
  const own = new Map(axes.map((a) => [a.v, variable(unique(`${a.v}p`))]));
  const place = (e: Expr) => substituted(e, own);
  const part: Nest = {
    form: "map",
    name: unique(`${n.name}_part`),
    nodes: n.nodes,
    axes: axes.map((a) => ({ v: (own.get(a.v) as Expr & { kind: "var" }).name, extent: a.extent })),
    stores: stores.map((s) => ({ buffer: s.buffer, index: s.index.map(place), value: place(s.value) })),
  };
  return [part, n.form === "row" ? { ...n, stages: rest } : { ...n, stores: left }];
}

/** A contraction whose sum is finished with other memory, as the sum and what finishes it where it stands. */
function apart(n: ContractNest, uses: Uses, l: List, unique: (name: string) => string): { readonly sum: Nest; readonly end: Nest } | undefined {
  const [store] = n.stores;
  if (!store || n.stores.length > 1 || store.buffer.dtype !== "f32" || store.buffer.role !== "temp" || l.loop !== null) return undefined;
  if (loadsOf([store.value]).length === 0 || uses.of(store.buffer)[0]?.nest !== n) return undefined;
  const sum = { kind: "local", name: "sum" } as const;
  const axes = [...n.batch, ...n.m, ...n.n];
  const own = new Map(axes.map((a) => [a.v, variable(unique(`${a.v}e`))]));
  const index = store.index.map((e) => substituted(e, own));
  const value = substituted(store.value, own, (e) => (e.kind === sum.kind && e.name === sum.name ? load(store.buffer, index) : undefined));
  const plain = locals(store.value).find((e) => e.name === sum.name);
  if (!plain) return undefined;
  return {
    sum: { ...n, stores: [{ ...store, value: plain }] },
    end: {
      form: "map",
      name: unique(`${n.name}_end`),
      nodes: n.nodes,
      axes: axes.map((a) => ({ v: (own.get(a.v) as Expr & { kind: "var" }).name, extent: a.extent })),
      stores: [{ buffer: store.buffer, index, value }],
    },
  };
}
function locals(root: Expr): readonly Extract<Expr, { kind: "local" }>[] {
  const out: Extract<Expr, { kind: "local" }>[] = [];
  substituted(root, new Map(), (e) => {
    if (e.kind === "local") out.push(e);
    return undefined;
  });
  return out;
}

const both = (a: Touched, b: Touched): Touched => ({ reads: new Set([...a.reads, ...b.reads]), writes: new Set([...a.writes, ...b.writes]) });
const touchedBy = (s: Step): Touched =>
  nestsOf([s])
    .map(({ nest }) => touched(nest))
    .reduce(both, { reads: new Set(), writes: new Set() });
