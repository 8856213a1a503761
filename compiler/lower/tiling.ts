// From quadratic values (quadratics.ts) to kernels: folds over the same side of the same rows share one pass where what
// one reads of another is at hand in time, or can be brought up to date (rescale.ts). Point-wise values of a kernel's
// results over its own rows are finished in it (finish.ts). A kernel is computed at one place of the order: whatever it
// reads comes first, whatever reads it after.
import { showExtent } from "../../dsl/build.js";
import { isFloat } from "../../dsl/derivative/terms.js";
import type { Extent, FoldNode, Node } from "../../dsl/node.js";
import { terms } from "../../dsl/scalar.js";
import { type Sides, turnOf } from "../graph/quadratic.js";
import { dependence, waitsFor } from "./dependence.js";
import { type Condition, keyOf, type Mask, Masks, meet } from "./masks.js";
import { buildable, pretended } from "./pretend.js";
import { type Quadratics, quadAxes, quadratics, type Reason, sidesOf } from "./quadratics.js";
import type { Regions } from "./regions.js";
import { smallFolds } from "./small-folds.js";
import type { Draft, Tiling } from "./tile-kernel.js";
import type { TileShape } from "./tiles.js";

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
    const whole = drafts.find((d) => d.home === home && d.key === key && d.mask !== "nothing" && d.mask.size === 0 && !waitsFor([n], d, place, r));
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
