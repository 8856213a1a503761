// From an expanded graph to a plan: what has memory (materialise.ts), where it is computed (regions.ts), as which kind of
// kernel (form.ts), where its memory lies (memory.ts). State is updated in place, after everything that reads it.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import type { DType, Extent, Leaf, Loop, Node, UpTo } from "../../dsl/node.js";
import type { Kept } from "../graph/kept.js";
import type { Plan } from "../plan.js";
import { axesInMemory, type CarryHome, counterName, type Home, type Memory, position, slot } from "./access.js";
import { placeTemporaries } from "./arena.js";
import { inBlocks } from "./blocks.js";
import { early } from "./early.js";
import { finishProducts } from "./epilogues.js";
import { type Buffer, buffer, elements, extentVar, int, maxOf, variable } from "./expr.js";
import { finished } from "./finish.js";
import { fuseMaps, fuseUpdates } from "./fuse.js";
import { inPlace } from "./in-place.js";
import { intoState } from "./into-state.js";
import { iadd } from "./ints.js";
import { foldWhereWritten } from "./kept.js";
import { type Layouts, layouts } from "./layout.js";
import { divideLongSums } from "./long-sums.js";
import { FEW, materialise, pinnedValues, type Tiled, usersOf } from "./materialise.js";
import { conflicts, type Touched, touched } from "./memory.js";
import { fuseMirrored } from "./mirror.js";
import type { Nest, Step } from "./nest.js";
import { clean, describe, Nests } from "./nests.js";
import { ontoProducts } from "./onto.js";
import { inOwnAxes } from "./own-axes.js";
import type { Reason } from "./quadratics.js";
import type { Range } from "./ranges.js";
import { type Regions, regions } from "./regions.js";
import { fuseRows } from "./rows.js";
import { nearTiles } from "./small-folds.js";
import { sooner } from "./soon.js";
import { Tables } from "./tables.js";
import type { TileKernel } from "./tile-kernel.js";
import { tiling } from "./tiling.js";
import { nestsOf } from "./turns.js";
import { withoutUnread } from "./unread.js";
import { orderUpdates } from "./updates.js";
import { verifyPlan } from "./verify.js";

export interface Program {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Leaf>>;
  readonly outputs: Readonly<Record<string, Node>>;
  /** New values of state, all computed from the old ones. */
  readonly updates: readonly { readonly leaf: Leaf; readonly value: Node }[];
  /** State computed from the new values of weights, after all updates. */
  readonly kept?: readonly Kept[];
}
/** The program cannot run on a compiled target as it stands. */
export interface LowerError {
  readonly kind: "LowerError";
  readonly message: string;
  readonly hint: string;
  readonly node: Node;
}

export interface LowerOptions {
  /** Kernels of tiles, for targets that have them; else what they would never store is stored. */
  readonly tiles: boolean;
  /** Kernels of tiles may gather columns beside their folds (mirror.ts): fewer products, by one thread a batch. Yes unless said. */
  readonly columns?: boolean;
  /** Starting a kernel costs as much as a small one's work: point-wise kernels over the same axes become one though they share no
   *  memory. */
  readonly startsCost?: boolean;
  /** Bytes that places in the arena are multiples of: a power of two, 64 unless said. */
  readonly align?: number;
}
export function lower(given: Program, o: LowerOptions = { tiles: false }): Either<LowerError, Plan> {
  const p = { ...given, updates: given.updates.map((u) => ({ ...u, value: inOwnAxes(u.value) })) };
  const roots = [...Object.values(p.outputs), ...p.updates.map((u) => u.value)];
  const r = regions(roots);
  const bad = r.order.find((n) => n.dtype === "f64");
  if (bad)
    return left({
      kind: "LowerError",
      node: bad,
      message: "f64 tensors exist on the js device alone",
      hint: 'cast to "f32", or compile with device: "js"',
    });
  const plan = new Lowering(p, choose(p, r, roots, o), o).plan();
  verifyPlan(plan);
  return right(plan);
}

/** What has memory and which kernel computes it, and an order in which every kernel can be computed whole. */
interface Chosen {
  readonly r: Regions;
  readonly direct: readonly Node[];
  readonly stored: ReadonlySet<Node>;
  readonly epilogue: ReadonlyMap<Node, Node>;
  readonly tiled: ReadonlyMap<Node, TileKernel>;
  readonly quads: ReadonlySet<Node>;
  readonly reasons: readonly Reason[];
}
function choose(p: Program, r: Regions, roots: readonly Node[], o: LowerOptions): Chosen {
  const direct = Object.values(p.outputs).filter((n) => ownsMemory(n));
  const sinks = p.updates.map((u) => u.value);
  const pinned = pinnedValues(r, new Set(direct));
  const users = usersOf(r, sinks);
  const kept = new Set<Node>([...pinned, ...sinks, ...Object.values(p.outputs)]);
  const isPinned = (n: Node) => kept.has(n);
  const t = o.tiles ? tiling(r, users, isPinned) : undefined;
  const tiled: Tiled = {
    inline: new Set([...(t?.quadratics.sides.keys() ?? []), ...(t?.quadratics.joined ?? []), ...(t?.quadratics.beside ?? [])]),
    folds: new Set(t?.quadratics.folds ?? []),
    small: t?.small ?? new Set(),
    near: t ? nearTiles(r, users, isPinned, t) : new Set(),
  };
  const { stored, epilogue } = materialise(r, pinned, sinks, users, tiled);
  for (const n of t?.quadratics.kept ?? []) stored.add(n);
  if (!t || t.drafts.length === 0) return { r, direct, stored, epilogue, tiled: new Map(), quads: new Set(), reasons: t?.reasons ?? [] };
  const { kernels, of } = finished(t, r, stored, epilogue, users, isPinned);
  const also = new Map<Node, readonly Node[]>();
  for (const k of kernels) for (const n of [...k.folds.flat(), ...k.quads, ...k.hosts]) also.set(n, k.before);
  return { r: regions(roots, also), direct, stored, epilogue, tiled: of, quads: t.quadratics.kept, reasons: t.reasons };
}

class Lowering {
  readonly #bounds = new Map<string, Range>();
  readonly #extents = new Map<string, number>();
  readonly #buffers: Buffer[] = [];
  readonly #names = new Map<string, number>();
  readonly #homes = new Map<Node, Home>();
  readonly #leaves = new Map<Leaf, Buffer>();
  readonly #carries = new Map<Leaf, CarryHome>();
  readonly #inputs: Record<string, Buffer> = {};
  readonly #outputs: Record<string, Buffer> = {};
  readonly #state: Record<string, Buffer> = {};
  readonly #ups = new Map<UpTo, true>();
  readonly #tables = new Tables();
  readonly #memory: Memory;
  readonly #stored: ReadonlySet<Node>;
  readonly #layouts: Layouts;
  readonly #nests: Nests;

  readonly r: Regions;

  constructor(
    readonly p: Program,
    readonly choice: Chosen,
    readonly o: LowerOptions,
  ) {
    const { r, direct } = choice;
    this.r = r;
    this.#stored = choice.stored;
    const next = [...r.loops].flatMap((l) => [...(r.carries.get(l) as ReadonlySet<number>)].map((i) => l.next[i] as Node));
    this.#layouts = layouts(r, choice.stored, choice.epilogue, new Set([...direct, ...next])); // these lie as others want them
    this.#memory = { homes: this.#homes, leaves: this.#leaves, carries: this.#carries, owner: r.owner, bounds: this.#bounds };
    this.#nests = new Nests({
      order: r.order,
      stored: choice.stored,
      tiled: choice.tiled,
      quads: choice.quads,
      hosted: new Map([...choice.epilogue].map(([fold, host]) => [host, fold])),
      homes: this.#homes,
      memory: this.#memory,
      tables: this.#tables,
      bounds: this.#bounds,
      extents: this.#extents,
      unique: (name) => this.#unique(name),
    });
  }

  plan(): Plan {
    for (const n of this.r.order) for (const e of Object.values(n.axes)) if (typeof e !== "number") this.#extent(e);
    this.#declareLeaves();
    for (const l of this.r.loops) this.#declareLoop(l);
    const outputs = new Map<Node, string>();
    for (const [name, n] of Object.entries(this.p.outputs)) if (ownsMemory(n) && !this.#homes.has(n) && !outputs.has(n)) outputs.set(n, name);
    for (const n of this.#stored) {
      if (this.#homes.has(n)) continue;
      const name = outputs.get(n);
      const b = this.#buffer(name === undefined ? describe(n) : `out_${name}`, n.dtype, this.#inMemory(n), name === undefined ? "temp" : "output");
      this.#homes.set(n, { buffer: b, lead: [] });
      if (name !== undefined) this.#outputs[name] = b;
    }
    const steps = this.#region(null);
    const holds = new Map([...this.#homes].map(([n, h]) => [h.buffer.id, n] as const));
    for (const [name, n] of Object.entries(this.p.outputs)) {
      if (this.#outputs[name]) continue;
      const b = this.#buffer(`out_${name}`, n.dtype, n.axes, "output");
      this.#outputs[name] = b;
      holds.set(b.id, n);
      steps.push({ step: "nest", nest: this.#nests.copy(n, { buffer: b, lead: [] }, `out_${name}`) });
    }
    const updates = this.p.updates.filter((u) => u.value !== u.leaf);
    const nests = updates.map((u) => this.#nests.copy(u.value, { buffer: this.#leaves.get(u.leaf) as Buffer, lead: [] }, `update_${u.leaf.name}`));
    const temporary = (b: Buffer) => this.#buffer(`new_${b.name}`, b.dtype, Object.fromEntries(b.axes.map((a) => [a.name, a.extent])), "temp");
    const kept = (this.p.kept ?? []).map((k) => this.#nests.folded(k.value, this.#leaves.get(k.leaf) as Buffer));
    for (const nest of foldWhereWritten(orderUpdates(fuseUpdates(nests, this.o.startsCost), temporary), kept)) steps.push({ step: "nest", nest });
    const sources = new Set((this.p.kept ?? []).map((k) => this.#leaves.get(k.leaf) as Buffer));
    const soon = early(steps, sources);
    steps.splice(0, steps.length, ...(this.o.tiles ? ontoProducts(soon) : soon));
    const blocks = this.o.tiles ? this.#blocks(steps, holds) : { steps, reasons: [], inBlocks: new Set<number>() };
    const inOrder = inPlace(sooner(withoutUnread(intoState(blocks.steps)), (name) => this.#unique(name)));
    const used = usedIn(inOrder);
    const all = [...this.#buffers, ...this.#tables.buffers].filter((b) => b.role !== "temp" || used.has(b));
    const { offsets, arenaBytes } = placeTemporaries(inOrder, this.o.align);
    return {
      name: this.p.name,
      buffers: all,
      steps: inOrder,
      extents: [...this.#ups.keys()],
      inputs: this.#inputs,
      outputs: this.#outputs,
      state: this.#state,
      offsets,
      arenaBytes,
      holds,
      inBlocks: blocks.inBlocks,
      why: [...this.choice.reasons, ...blocks.reasons],
    };
  }

  /** Quadratic values that are stored all the same, in blocks of rows. */
  #blocks(
    steps: readonly Step[],
    holds: Map<number, Node>,
  ): { readonly steps: readonly Step[]; readonly reasons: readonly Reason[]; readonly inBlocks: ReadonlySet<number> } {
    const made = new Set<Buffer>();
    const ofRows = new Set<number>();
    const out = inBlocks(steps, {
      bounds: this.#bounds,
      holds: (b) => holds.get(b.id),
      unique: (name) => this.#unique(name),
      temporary: (name, { dtype, axes }, of) => {
        const b = buffer(of?.gone ? name : this.#unique(name), dtype, axes, "temp");
        made.add(b);
        const value = of && holds.get(of.whole.id);
        if (of) ofRows.add(b.id);
        if (value) holds.set(b.id, value);
        return b;
      },
    });
    const used = usedIn(out.steps);
    const kept = [...this.#buffers.filter((b) => !out.gone.has(b) || used.has(b)), ...[...made].filter((b) => used.has(b))];
    this.#buffers.splice(0, this.#buffers.length, ...kept);
    const divided = divideLongSums(
      out.steps,
      (name) => this.#unique(name),
      (b) => this.#buffers.push(b),
    );
    return { ...out, steps: divided, inBlocks: ofRows };
  }

  // ── memory ─────────────────────────────────────────────────────────────────────────────────────────
  #unique(name: string): string {
    const base = clean(name);
    const n = this.#names.get(base) ?? 0;
    this.#names.set(base, n + 1);
    return n === 0 ? base : `${base}_${n}`;
  }
  #buffer(name: string, dtype: DType, axes: Readonly<Record<string, Extent>>, role: Buffer["role"]): Buffer {
    const b = buffer(
      this.#unique(name),
      dtype,
      Object.entries(axes).map(([a, extent]) => ({ name: a, extent })),
      role,
    );
    this.#buffers.push(b);
    return b;
  }
  #inMemory(n: Node): Readonly<Record<string, Extent>> {
    return Object.fromEntries(axesInMemory(n, this.#layouts).map((a) => [a, n.axes[a] as Extent]));
  }
  #extent(e: UpTo): void {
    this.#ups.set(e, true);
    const v = extentVar(e);
    if (v.kind === "var") this.#bounds.set(v.name, [0, e.max]);
  }
  #declareLeaves(): void {
    const named = new Map(Object.entries(this.p.inputs).map(([name, leaf]) => [leaf, name]));
    const kept = (this.p.kept ?? []).flatMap((k) => [k.leaf, k.weight]);
    const leaves = new Set<Leaf>([...Object.values(this.p.inputs), ...this.p.updates.map((u) => u.leaf), ...kept]);
    for (const n of this.r.order) if (n.op === "leaf" && n.role !== "bound") leaves.add(n);
    for (const n of leaves) {
      for (const e of Object.values(n.axes)) if (typeof e !== "number") this.#extent(e);
      const input = named.get(n);
      const b = this.#buffer(input ?? n.name, n.dtype, n.axes, input === undefined ? "state" : "input");
      this.#leaves.set(n, b);
      if (input === undefined) this.#state[n.name] = b;
      else this.#inputs[input] = b;
    }
  }
  #declareLoop(l: Loop): void {
    const v = counterName(l);
    this.#bounds.set(v, [0, Math.max(0, l.count - 1)]);
    this.#extents.set(v, l.count);
    const emitted = this.r.emitted.get(l) as ReadonlySet<Node>;
    const counter = variable(v);
    for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
      const leaf = l.carry[i] as Leaf;
      const slots = emitted.has(leaf) ? l.count + 1 : 2;
      const b = this.#buffer(`carry_${describe(l.next[i] as Node)}`, leaf.dtype, { [turnAxis(l, leaf.axes)]: slots, ...leaf.axes }, "temp");
      this.#carries.set(leaf, { buffer: b, slots });
    }
    for (const of of emitted) {
      if (!this.#stored.has(of) || this.r.home.get(of) !== l || this.#homes.has(of)) continue;
      this.#homes.set(of, {
        buffer: this.#buffer(describe(of), of.dtype, { [turnAxis(l, of.axes)]: l.count, ...this.#inMemory(of) }, "temp"),
        lead: [counter],
      });
    }
    for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
      const n = l.next[i] as Node;
      // Where it has the state's axes in another order, it has memory of its own and is copied.
      const alike = Object.keys(n.axes).join() === Object.keys((l.carry[i] as Leaf).axes).join();
      if (alike && this.#stored.has(n) && this.r.home.get(n) === l && !this.#homes.has(n)) this.#homes.set(n, this.#nextSlot(l, i));
    }
  }
  #nextSlot(l: Loop, i: number): Home {
    const h = this.#carries.get(l.carry[i] as Leaf) as CarryHome;
    return { buffer: h.buffer, lead: [slot(h, iadd(position(l, variable(counterName(l))), int(1)), this.#memory)] };
  }

  // ── steps ──────────────────────────────────────────────────────────────────────────────────────────
  #region(l: Loop | null): Step[] {
    const out: (Nest | Step)[] = [];
    const done = new Set<Node | Loop>();
    for (const n of this.r.order) {
      if (this.r.home.get(n) !== l) continue;
      if ((n.op === "carry" || n.op === "emit") && !done.has(n.loop)) {
        done.add(n.loop);
        out.push(...this.#loop(n.loop));
      } else if (this.#stored.has(n) && !done.has(n)) {
        const { nest, nodes } = this.#nests.nest(n);
        for (const x of nodes) done.add(x);
        out.push(nest);
      }
    }
    if (l) {
      for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
        const to = this.#nextSlot(l, i);
        const n = l.next[i] as Node;
        if (this.#homes.get(n)?.buffer !== to.buffer || this.r.home.get(n) !== l) out.push(this.#nests.copy(n, to, `next_${to.buffer.name}`));
      }
    }
    return this.#group(out);
  }
  #loop(l: Loop): Step[] {
    const out: Step[] = [];
    for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
      const h = this.#carries.get(l.carry[i] as Leaf) as CarryHome;
      out.push({ step: "nest", nest: this.#nests.copy(l.init[i] as Node, { buffer: h.buffer, lead: [int(0)] }, `start_${h.buffer.name}`) });
    }
    const body = this.#region(l);
    for (const of of this.r.emitted.get(l) as ReadonlySet<Node>) {
      // A loop inside, or a value of a loop inside, has memory without this loop's axis: keep a copy an iteration.
      if ((of.op === "carry" || of.op === "emit") && this.r.home.get(of) === l) {
        const b = this.#buffer(describe(of), of.dtype, { [turnAxis(l, of.axes)]: l.count, ...of.axes }, "temp");
        body.push({ step: "nest", nest: this.#nests.copy(of, { buffer: b, lead: [variable(counterName(l))] }, `keep_${b.name}`) });
        this.#homes.set(of, { buffer: b, lead: [variable(counterName(l))] });
      }
    }
    if (l.count > 0 && body.length > 0) out.push({ step: "loop", v: counterName(l), count: l.count, reverse: l.reverse, body });
    return out;
  }
  /** Neighbouring kernels become one where they share loops and memory. */
  #group(items: readonly (Nest | Step)[]): Step[] {
    const out: Step[] = [];
    let run: Nest[] = [];
    const flush = () => {
      const nests = gathered(fuseRows(finishProducts(fuseMaps(run, this.o.startsCost))));
      for (const nest of this.o.columns === false ? nests : fuseMirrored(nests)) out.push({ step: "nest", nest });
      run = [];
    };
    for (const x of items) {
      if ("form" in x) run.push(x);
      else {
        flush();
        out.push(x);
      }
    }
    flush();
    return out;
  }
}

function usedIn(steps: readonly Step[]): ReadonlySet<Buffer> {
  const used = new Set<Buffer>();
  for (const { nest } of nestsOf(steps)) {
    const t = touched(nest);
    for (const b of [...t.reads, ...t.writes]) used.add(b);
  }
  return used;
}

/** What a buffer calls the axis of a loop's turns: a value inside may have another axis of the loop's name. */
function turnAxis(l: Loop, axes: Readonly<Record<string, Extent>>): string {
  let name = l.axis;
  while (name in axes) name += "'";
  return name;
}
const ownsMemory = (n: Node): boolean => n.op !== "leaf" && n.op !== "constant" && n.op !== "carry" && n.op !== "emit";

/** Kernels of tiles stand as early as what they read allows: those of one layer then wait for each other nowhere. So does
 *  what chooses a few elements of a large value, which may be overwritten then. */
function gathered(nests: readonly Nest[]): readonly Nest[] {
  const out: { readonly nest: Nest; readonly io: Touched }[] = [];
  for (const nest of nests) {
    const io = touched(nest);
    let at = out.length;
    if (nest.form === "tiles" || choosesFew(nest)) while (at > 0 && !conflicts((out[at - 1] as (typeof out)[number]).io, io)) at--;
    out.splice(at, 0, { nest, io });
  }
  return out.map((x) => x.nest);
}
function choosesFew(n: Nest): boolean {
  if (n.form !== "map") return false;
  const size = n.axes.reduce((p, a) => p * maxOf(a.extent), 1);
  return [...touched(n).reads].some((b) => b.role === "temp" && elements(b) >= FEW * size);
}
