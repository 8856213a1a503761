// From quadratic values (quadratics.ts) to kernels: folds over the same side of the same rows share one pass where what
// one reads of another is at hand in time, or can be brought up to date (rescale.ts). Point-wise values of a kernel's
// results over its own rows are finished in it. A kernel is computed at one place of the order: whatever it reads comes
// first, whatever reads it after.

import { showExtent } from "../../dsl/build.js";
import { solve } from "../../dsl/derivative/inverse.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { isFloat } from "../../dsl/derivative/terms.js";
import type { Extent, FoldNode, Leaf, Loop, Node, Shape, ViewNode } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { type Scalar, constant as scalarConstant, index as scalarIndex, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { isPointwise, type Sides, turnOf } from "../graph/quadratic.js";
import type { CarryHome, Home, Memory } from "./access.js";
import { buffer, maxOf } from "./expr.js";
import { type Condition, keyOf, type Mask, Masks, meet } from "./masks.js";
import type { Axis } from "./nest.js";
import { type Quadratics, quadAxes, quadratics, type Reason, sidesOf } from "./quadratics.js";
import type { Regions } from "./regions.js";
import { extentOf, type Naming, NoTile, TileBuilder, type TileShape } from "./tiles.js";

export interface TileKernel {
  readonly home: Loop | null;
  readonly shape: TileShape;
  /** Results of one fold, in the order of computation. */
  readonly folds: readonly (readonly FoldNode[])[];
  readonly mask: readonly Condition[];
  /** Point-wise values that are finished here, and stored. */
  readonly hosts: readonly Node[];
  /** Quadratic values that are stored, element by element. */
  readonly quads: readonly Node[];
  /** What depends on its results. */
  readonly after: ReadonlySet<Node>;
  /** What must be known before it runs. */
  readonly before: readonly Node[];
}
export interface Tiling {
  readonly quadratics: Quadratics;
  readonly drafts: readonly Draft[];
  readonly small: ReadonlySet<Node>;
  readonly reasons: readonly Reason[];
}

/** Elements that a fold of one side may have and still be made again by each kernel that reads it. */
const SHORT = 512;

/** Folds that a kernel makes again for its own sides rather than waiting for another kernel. */
export function smallFolds(r: Regions, q: Quadratics): ReadonlySet<Node> {
  const out = new Set<Node>();
  const folds = new Set<Node>(q.folds);
  const both = (n: Node) =>
    [...q.sides.values()].some((s) => (s.parts ?? [s.left, s.right]).filter((p) => [...p].some((a) => a in n.axes)).length > 1);
  if (q.folds.length === 0) return out;
  // What is the same for all rows of a batch is neither side's: it is stored, for both.
  const either = new Set([...q.sides.values()].flatMap((s) => [...s.left, ...s.right]));
  for (const n of r.order) {
    if (n.op !== "fold" || n.args.length !== 1 || folds.has(n) || q.sides.has(n) || both(n) || !Object.keys(n.axes).some((a) => either.has(a)))
      continue;
    const length = n.over.reduce((p, o) => p * maxOf(extentOf(n, o)), 1);
    // A contraction has more results than a fold has rows: that one is stored.
    const rows = Object.keys(n.axes).length;
    const read = Math.max(...argsOf(n).flatMap((a) => pointwiseSources(a).map((s) => Object.keys(s.axes).length)), 0);
    if (length <= 8 || (length <= SHORT && rows < read)) out.add(n);
  }
  return out;
}
function pointwiseSources(n: Node): readonly Node[] {
  const out = new Set<Node>();
  const seen = new Set<Node>();
  const todo = [n];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (isPointwise(x)) todo.push(...argsOf(x));
    else out.add(x);
  }
  return [...out];
}

/** Point-wise values of small folds that kernels of tiles alone read: made again with them. */
export function nearTiles(r: Regions, users: ReadonlyMap<Node, readonly Node[]>, pinned: (n: Node) => boolean, t: Tiling): ReadonlySet<Node> {
  const over = new Set<Node>();
  for (const n of r.order) if (isPointwise(n) && argsOf(n).some((a) => t.small.has(a) || over.has(a))) over.add(n);
  const { sides, joined, folds } = t.quadratics;
  const inside = new Set<Node>([...sides.keys(), ...joined, ...t.small, ...folds]);
  const out = new Set<Node>();
  for (const n of [...r.order].reverse()) {
    const by = users.get(n) ?? [];
    if (pinned(n) || !isPointwise(n) || by.length === 0 || !by.every((u) => inside.has(u) || out.has(u))) continue;
    if (over.has(n)) out.add(n);
  }
  return out;
}

export interface Draft {
  home: Loop | null;
  shape: TileShape;
  key: string;
  folds: FoldNode[][];
  mask: Mask;
  quads: Node[];
}

/** Kernels for all folds of quadratic values; a value one of whose folds cannot have one keeps its memory. */
export function tiling(r: Regions, users: ReadonlyMap<Node, readonly Node[]>, pinned: (n: Node) => boolean): Tiling {
  const refused = new Map<Node, string>();
  for (;;) {
    const q = quadratics(r, users, pinned, refused);
    const small = smallFolds(r, q);
    const made = draft(r, q, small);
    if (made.reasons.length === 0) return { quadratics: q, drafts: made.drafts, small, reasons: q.reasons };
    for (const { node, reason } of made.reasons) refused.set(node, reason);
  }
}
function draft(r: Regions, q: Quadratics, small: ReadonlySet<Node>): { drafts: readonly Draft[]; reasons: readonly Reason[] } {
  // Conditions on computed numbers (a row's sum is not 0) tell nothing of tiles.
  const masks = new Masks((n) => q.sides.has(n) || (isFloat(n) && (n.op !== "leaf" || n.role === "bound")));
  const dots = new Set([...q.sides.keys()].filter((n) => n.op === "fold"));
  const drafts: Draft[] = [];
  const reasons: Reason[] = [];
  const done = new Set<Node>();
  const memory = pretended(r, q);
  const place = new Map<Node, Draft>();
  for (const f of q.folds) {
    if (done.has(f)) continue;
    const fields = siblings(f, q.folds);
    for (const x of fields) done.add(x);
    const shape = shapeOf(f, q, dots, small);
    const home = r.home.get(f) ?? null;
    const key = keyOfShape(shape);
    const mask = within(maskOf(fields, masks), shape);
    const accepts = (d: Draft): boolean => {
      if (d.home !== home || d.key !== key) return false;
      const path = dependence(fields, d, place, r);
      if (path === "outside" || (path === "none" && keyOf(d.mask) !== keyOf(mask))) return false;
      return buildable([...d.folds, fields], shape, memory) === undefined;
    };
    const found = drafts.find(accepts);
    if (found) {
      found.folds.push(fields);
      found.mask = meet(found.mask, mask);
      for (const x of fields) place.set(x, found);
      continue;
    }
    const fault = buildable([fields], shape, memory);
    if (fault !== undefined) {
      reasons.push({ node: f, reason: fault });
      continue;
    }
    const made: Draft = { home, shape, key, folds: [fields], mask, quads: [] };
    drafts.push(made);
    for (const x of fields) place.set(x, made);
  }
  for (const n of q.kept) {
    const s = q.sides.get(n) as Sides;
    const axes = Object.keys(n.axes);
    const shape: TileShape = {
      batch: axes.filter((a) => !s.left.has(a) && !s.right.has(a)),
      rows: axes.filter((a) => s.left.has(a)),
      over: axes.filter((a) => s.right.has(a)),
      extents: n.axes,
      dots,
      small,
    };
    const key = keyOfShape(shape);
    const home = r.home.get(n) ?? null;
    const whole = drafts.find((d) => d.home === home && d.key === key && d.mask !== "nothing" && d.mask.size === 0 && !waitsFor(n, d, place, r));
    if (whole) whole.quads.push(n);
    else drafts.push({ home, shape, key, folds: [], mask: new Map(), quads: [n] });
    place.set(n, drafts.find((d) => d.quads.includes(n)) as Draft);
  }
  return { drafts, reasons };
}

const keyOfShape = (s: TileShape): string =>
  [s.batch, s.rows, s.over].map((axes) => axes.map((a) => `${a}:${showExtent(s.extents[a] as Extent)}`)).join("|");
function maskOf(fields: readonly FoldNode[], masks: Masks): Mask {
  const [f] = fields as readonly [FoldNode];
  const names = Object.keys(f.monoid.empty);
  if (names.length > 1) return new Map();
  const empty = f.monoid.empty[names[0] as string];
  if (empty === 0) return masks.of(f.args[0] as Node, "zero");
  return empty === -Infinity ? masks.of(f.args[0] as Node, "lowest") : new Map();
}
/** Conditions that stand at the kernel's own indices: one on an axis of the result alone (a bucket) chooses no tiles. */
function within(m: Mask, shape: TileShape): Mask {
  if (m === "nothing") return m;
  const axes = new Set([...shape.batch, ...shape.rows, ...shape.over]);
  const inside = (c: Condition) =>
    terms([c.scalar]).every((t) =>
      t.kind === "index"
        ? axes.has(t.axis)
        : t.kind !== "arg" || Object.keys((c.node.args[c.node.names.indexOf(t.name)] as Node).axes).every((a) => axes.has(a)),
    );
  return new Map([...m].filter(([, c]) => inside(c)));
}
const siblings = (f: FoldNode, all: readonly FoldNode[]): FoldNode[] =>
  all.filter(
    (x) =>
      x === f ||
      (x.args.length === f.args.length &&
        x.args.length > 1 &&
        x.args.every((a, i) => a === f.args[i]) &&
        x.monoid === f.monoid &&
        String(x.over) === String(f.over) &&
        String(Object.keys(x.axes)) === String(Object.keys(f.axes))),
  );

function shapeOf(f: FoldNode, q: Quadratics, dots: ReadonlySet<Node>, small: ReadonlySet<Node>): TileShape {
  const s = sidesOf(f, q.sides);
  if (!s) throw new Error("tiling: a fold without sides");
  const over = new Set(f.over);
  const turn = turnOf(f.over, s);
  if (!turn) throw new Error("tiling: a fold over no side");
  const axes = quadAxes(f, q.sides);
  const extents: Record<string, Extent> = {};
  for (const x of [...f.args, f]) for (const [a, e] of Object.entries(x.axes)) extents[a] = e;
  // Axes of the side itself come last: the last is tiled.
  return {
    batch: axes.filter((a) => !over.has(a) && !turn.rows.has(a) && a in f.axes),
    rows: axes.filter((a) => turn.rows.has(a)),
    over: [...f.over.filter((a) => !turn.over.has(a)), ...axes.filter((a) => turn.over.has(a))],
    extents,
    dots,
    small,
  };
}

/** Memory for whatever has any, before that is decided: to see what a kernel would look like. */
function pretended(r: Regions, q: Quadratics): Memory {
  const fake = new Map<Node, Home>();
  const home = (n: Node): Home => {
    let h = fake.get(n);
    if (!h) {
      h = {
        buffer: buffer(
          "x",
          n.dtype,
          Object.entries(n.axes).map(([name, extent]) => ({ name, extent })),
          "temp",
        ),
        lead: [],
      };
      fake.set(n, h);
    }
    return h;
  };
  const inlined = (n: Node) =>
    isPointwise(n) ||
    n.op === "view" ||
    n.op === "at" ||
    n.op === "random" ||
    n.op === "constant" ||
    n.op === "leaf" ||
    q.sides.has(n) ||
    q.joined.has(n);
  class Homes extends Map<Node, Home> {
    override get(n: Node): Home | undefined {
      return inlined(n) ? undefined : home(n);
    }
  }
  class Leaves extends Map<Leaf, ReturnType<typeof home>["buffer"]> {
    override get(n: Leaf) {
      return home(n).buffer;
    }
  }
  class Carries extends Map<Leaf, CarryHome> {
    override get(n: Leaf): CarryHome {
      const b = buffer("c", n.dtype, [{ name: "slot", extent: 2 }, ...Object.entries(n.axes).map(([name, extent]) => ({ name, extent }))], "temp");
      return { buffer: b, slots: 2 };
    }
  }
  return { homes: new Homes(), leaves: new Leaves(), carries: new Carries(), owner: r.owner, bounds: new Map() };
}
/** The fault that keeps these folds from being one kernel. */
function buildable(folds: readonly (readonly FoldNode[])[], shape: TileShape, memory: Memory): string | undefined {
  let fresh = 0;
  const naming: Naming = {
    axis: (name, extent): Axis => ({ v: `${name}_${fresh++}`, extent }),
    local: (n) => `x${n.id}_${fresh++}`,
    monoid: (n, components) => ({ names: components, empty: [], combine: [], kind: kindOf(n.monoid) }),
  };
  try {
    const b = new TileBuilder(shape, memory, naming);
    for (const fields of folds) b.add(fields, Object.keys((fields[0] as FoldNode).monoid.empty));
    return undefined;
  } catch (error) {
    if (error instanceof NoTile) return error.message;
    throw error;
  }
}

/** How folds depend on a kernel: not at all; on its values for the row, through point-wise expressions; or through what
 *  is computed elsewhere from all of them, after which alone they could start. */
function dependence(fields: readonly FoldNode[], d: Draft, place: ReadonlyMap<Node, Draft>, r: Regions): "none" | "row" | "outside" {
  let found: "none" | "row" = "none";
  const seen = new Set<string>();
  const todo: { n: Node; clean: boolean }[] = fields.flatMap((f) => f.args.map((n) => ({ n, clean: true })));
  const visited = new Set<Draft>();
  for (let item = todo.pop(); item; item = todo.pop()) {
    const { n, clean } = item;
    const key = `${n.id}${clean}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const at = place.get(n);
    if (at === d) {
      if (!clean) return "outside";
      found = "row";
      continue;
    }
    if (at && !visited.has(at)) {
      visited.add(at);
      for (const f of [...at.folds.flat(), ...at.quads]) for (const a of argsOf(f)) todo.push({ n: a, clean: false });
    }
    const still = clean && isPointwise(n);
    for (const p of partsOf(n, r)) todo.push({ n: p, clean: still });
  }
  return found;
}
function partsOf(n: Node, r: Regions): readonly Node[] {
  if (n.op === "carry" || n.op === "emit") return [...n.args, ...n.loop.next, ...(n.op === "emit" ? [n.of] : [])];
  if (n.op !== "leaf") return argsOf(n);
  const l = r.owner.get(n);
  const k = l ? l.slices.indexOf(n) : -1;
  return l && k >= 0 ? [l.xs[k] as Node] : l?.carry.includes(n) ? [l.init[l.carry.indexOf(n)] as Node] : [];
}

// ── after memory is decided ──────────────────────────────────────────────────────────────────────────

/** What a kernel finishes: stored point-wise values of its results over its own rows, whatever else they read being
 *  known before. Values that nothing else needs then lose their memory. */
export function finished(
  { drafts, quadratics: q, small }: Tiling,
  r: Regions,
  stored: Set<Node>,
  epilogue: Map<Node, Node>,
  users: ReadonlyMap<Node, readonly Node[]>,
  pinned: (n: Node) => boolean,
): { readonly kernels: readonly TileKernel[]; readonly of: ReadonlyMap<Node, TileKernel> } {
  const place = new Map<Node, Draft>();
  for (const d of drafts) for (const f of [...d.folds.flat(), ...d.quads]) place.set(f, d);
  const hosts = new Map<Draft, Node[]>(drafts.map((d) => [d, []]));
  for (const n of r.order) {
    if (!stored.has(n) || place.has(n) || q.sides.has(n) || q.joined.has(n) || !(isPointwise(n) || n.op === "view")) continue;
    const d = hostOf(n, place, r);
    if (!d) continue;
    (hosts.get(d) as Node[]).push(n);
    place.set(n, d);
    // Another kernel would have finished it: that one stores its own result then.
    for (const [fold, host] of epilogue)
      if (host === n) {
        epilogue.delete(fold);
        stored.add(fold);
      }
  }
  // Users come first in the reverse order, so one pass settles what is read from memory.
  /** The kernels that compute from a value, and whether anything else does. */
  const readers = new Map<Node, ReadonlySet<Draft | "other">>();
  for (const n of [...r.order].reverse()) {
    const by = new Set<Draft | "other">(pinned(n) ? ["other"] : []);
    for (const u of users.get(n) ?? []) {
      const d = place.get(u);
      if (d) by.add(d);
      else {
        if (stored.has(u) && (!q.sides.has(u) || q.kept.has(u))) by.add("other");
        if (!stored.has(u) || small.has(u)) for (const x of readers.get(u) ?? []) by.add(x);
      }
    }
    readers.set(n, by);
    const own = place.get(n);
    const elsewhere = small.has(n) ? by.has("other") : [...by].some((x) => x !== own);
    // A kernel's folds and finished values are made again from its own results.
    if ((small.has(n) || own) && !elsewhere && !pinned(n)) {
      stored.delete(n);
      const finishes = own && (hosts.get(own) as Node[]);
      if (finishes?.includes(n)) finishes.splice(finishes.indexOf(n), 1);
    }
  }
  const kernels = drafts.map((d): TileKernel => {
    const own = new Set<Node>([...d.folds.flat(), ...d.quads, ...(hosts.get(d) as readonly Node[])]);
    const after = dependents(own, r);
    const before = new Set<Node>();
    for (const n of own) {
      const seen = new Set<Node>();
      const todo = [...partsOf(n, r)];
      for (let x = todo.pop(); x; x = todo.pop()) {
        if (seen.has(x)) continue;
        seen.add(x);
        if (own.has(x) || after.has(x)) todo.push(...partsOf(x, r));
        else before.add(x);
      }
    }
    return {
      home: d.home,
      shape: d.shape,
      folds: d.folds,
      mask: d.mask === "nothing" ? [] : [...d.mask.values()],
      hosts: hosts.get(d) as readonly Node[],
      quads: d.quads,
      after,
      before: [...before],
    };
  });
  const of = new Map<Node, TileKernel>();
  for (const [n, d] of place) of.set(n, kernels[drafts.indexOf(d)] as TileKernel);
  return { kernels, of };
}
/** Everything computed from these values. */
function dependents(own: ReadonlySet<Node>, r: Regions): ReadonlySet<Node> {
  const out = new Set<Node>();
  for (const n of r.order) if (partsOf(n, r).some((p) => own.has(p) || out.has(p))) out.add(n);
  return out;
}

function hostOf(n: Node, place: ReadonlyMap<Node, Draft>, r: Regions): Draft | undefined {
  // Through point-wise values to the results of one kernel; all else must not wait for that kernel.
  let d: Draft | undefined;
  const others: Node[] = [];
  const seen = new Set<Node>();
  const todo = [...argsOf(n)];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    const at = place.get(x);
    if (at && (d === undefined || at === d) && at.home === (r.home.get(n) ?? null) && (x.op === "fold" || isPointwise(x))) d = at;
    else if (isPointwise(x)) todo.push(...argsOf(x));
    else others.push(x);
  }
  if (!d || others.some((x) => waitsFor(x, d as Draft, place, r))) return undefined;
  const rows = [...d.shape.batch, ...d.shape.rows];
  if (n.op === "view" && !unviewed(n)) return undefined;
  const own = n.op === "view" ? n.args[0] : n;
  if (!rows.every((a) => a in own.axes)) return undefined;
  const nAxes = new Set(d.folds.flatMap(([f]) => Object.keys((f as FoldNode).axes)));
  return Object.keys(own.axes).every((a) => nAxes.has(a)) ? d : undefined;
}
/** For a view that only moves elements: its own axes as functions of the indices of what it views. */
export function unviewed(n: ViewNode): Readonly<Record<string, Scalar>> | undefined {
  const [x] = n.args;
  const { index } = n;
  if (index.kind !== "scalar") return undefined;
  const apart = (a: string) => `${a}'`;
  const known = (t: Scalar): Scalar | undefined => {
    if (t.kind === "index") return scalarIndex(apart(t.axis));
    const e = t.kind === "size" ? (x.axes[t.axis] ?? n.axes[t.axis]) : undefined;
    return typeof e === "number" ? scalarConstant(e) : undefined;
  };
  const at = new Map(n.reads.map((a) => [a, simplify(substitute(index.at[a] as Scalar, known))] as const));
  const out: Record<string, Scalar> = {};
  // Axes of one element are at 0 on both sides.
  const equations = new Map([...at].filter(([a, e]) => !(x.axes[a] === 1 && e.kind === "const" && e.value === 0)));
  const used = new Set([...at.values()].flatMap((e) => terms([e]).flatMap((t) => (t.kind === "index" ? [t.axis] : []))));
  const wanted = new Map(Object.entries(n.fresh).filter(([a, e]) => used.has(apart(a)) || e !== 1));
  for (const a of Object.keys(n.fresh)) if (!wanted.has(a)) out[a] = scalarConstant(0);
  // Each axis of one side is an axis of the other, of the same extent.
  const renamed = [...equations].every(([a, e]) => e.kind === "index" && x.axes[a] === n.axes[e.axis.slice(0, -1)]);
  if (renamed && new Set(equations.values()).size === equations.size && equations.size === wanted.size) {
    for (const [a, e] of equations) if (e.kind === "index") out[e.axis.slice(0, -1)] = scalarIndex(a);
    return out;
  }
  const size = (s: Shape) => Object.values(s).reduce<number>((p, e) => p * (typeof e === "number" ? e : Number.NaN), 1);
  if (size(x.axes) !== size(n.axes)) return undefined;
  const { solved, conditions } = solve(
    equations,
    new Map([...equations.keys()].map((a) => [a, x.axes[a] as Extent])),
    new Map([...wanted].map(([a, e]) => [apart(a), e])),
  );
  if (conditions.length > 0 || [...wanted.keys()].some((a) => !solved.has(apart(a)))) return undefined;
  for (const a of wanted.keys()) out[a] = solved.get(apart(a)) as Scalar;
  return out;
}
function waitsFor(n: Node, d: Draft, place: ReadonlyMap<Node, Draft>, r: Regions): boolean {
  const seen = new Set<Node>();
  const visited = new Set<Draft>();
  const todo = [n];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    const at = place.get(x);
    if (at === d) return true;
    if (at && !visited.has(at)) {
      visited.add(at);
      for (const f of [...at.folds.flat(), ...at.quads]) todo.push(...argsOf(f));
    }
    todo.push(...partsOf(x, r));
  }
  return false;
}
