// Which values get memory. Folds, scans and selections do; maps and views are substituted into their users unless
// that costs more than storing them. The cost of a value: evaluations × (its body's work + a load an argument) when
// substituted, against evaluating it once, storing it, and a load for each evaluation. Work inside a contraction's
// operand counts more, for it runs while panels are packed, not at vector speed.
//
// A fold whose only user is a map over the same axes becomes a local of that map's kernel (its epilogue): the value is
// stored once, finished.
import type { Loop, Node } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import { maxOf } from "./expr.js";
import { isInside, type Regions } from "./regions.js";

/** Relative cost of one evaluation of a primitive, in vector operations. */
const work: Readonly<Record<string, number>> = {
  exp: 12,
  log: 14,
  log1p: 16,
  expm1: 16,
  log2: 14,
  log10: 14,
  pow: 30,
  sin: 16,
  cos: 16,
  tan: 30,
  tanh: 18,
  sinh: 20,
  cosh: 20,
  div: 4,
  recip0: 5,
  sqrt: 4,
  mod: 6,
  asin: 30,
  acos: 30,
  atan: 24,
  atan2: 30,
  asinh: 30,
  acosh: 30,
  atanh: 30,
  cbrt: 40,
  hypot: 8,
};
const LOAD = 4;
const STORE = 6;
const PACKING = 3;
/** Times that a value is as large as what is chosen from it. */
export const FEW = 64;
/** Terms that a kernel may hold before a value inside it is stored after all. */
const LARGEST = 300;

const domain = (axes: Readonly<Record<string, unknown>>, of: (axis: string) => number) => Object.keys(axes).reduce((n, a) => n * of(a), 1);
const sizeOf = (n: Node) => domain(n.axes, (a) => maxOf(n.axes[a] as number));
const foldDomain = (n: Node) => {
  const extents: Record<string, number> = {};
  for (const a of argsOf(n)) for (const [axis, e] of Object.entries(a.axes)) extents[axis] = maxOf(e);
  return Object.values(extents).reduce((p, e) => p * e, 1);
};
/** Work of one element of a map's body. */
const bodyWork = (body: Scalar): number => terms([body]).reduce((sum, t) => sum + (t.kind === "call" ? (work[t.prim] ?? 1) : 0), 0);

const always = (n: Node) => n.op === "fold" || n.op === "scan" || n.op === "top";
/** Results of loops are read where the loop left them. */
const never = (n: Node) => n.op === "leaf" || n.op === "constant" || n.op === "carry" || n.op === "emit";
const scalarBody = (n: Node): Scalar | undefined => (n.op === "map" && n.body.kind === "scalar" ? n.body.body : undefined);
const sameAxes = (a: Node, b: Node) => {
  const keys = Object.keys(a.axes);
  return keys.length === Object.keys(b.axes).length && keys.every((k) => k in b.axes);
};

/** What computing n reads: its args; for a loop's placeholder what it stands for; for its results where the loop starts. */
function readBy(n: Node, r: Regions): readonly Node[] {
  if (n.op === "carry" || n.op === "emit") return [...(r.carries.get(n.loop) as ReadonlySet<number>)].map((i) => n.loop.init[i] as Node);
  if (n.op !== "leaf") return argsOf(n);
  const l = r.owner.get(n);
  const k = l ? l.slices.indexOf(n) : -1;
  return l && k >= 0 ? [l.xs[k] as Node] : [];
}

/** Values that must have memory: outputs, what a loop carries and what it emits. */
export function pinnedValues(r: Regions, forced: ReadonlySet<Node>): ReadonlySet<Node> {
  const out = new Set<Node>([...forced].filter((n) => !never(n)));
  for (const [l, is] of r.carries)
    for (const i of is) if (r.home.get(l.next[i] as Node) === l && !never(l.next[i] as Node)) out.add(l.next[i] as Node);
  for (const of of r.emitted.values()) for (const n of of) if (!never(n)) out.add(n);
  return out;
}
/** Who reads a value. A sink is a user that is no node: such a value is never only an operand or an epilogue of another. */
export function usersOf(r: Regions, sinks: readonly Node[]): ReadonlyMap<Node, readonly Node[]> {
  const users = new Map<Node, Node[]>();
  const add = (a: Node, ...by: readonly Node[]) => {
    const known = users.get(a);
    if (known) known.push(...by);
    else users.set(a, [...by]);
  };
  for (const n of r.order) for (const a of readBy(n, r)) add(a, n);
  for (const n of sinks) add(n, n, n);
  return users;
}

export interface Choice {
  /** Values with memory of their own. */
  readonly stored: Set<Node>;
  /** Fold → the map node in whose kernel it is a local. */
  readonly epilogue: Map<Node, Node>;
}
/** Values that kernels of tiles make for themselves. */
export interface Tiled {
  /** Quadratic values, and what is as large and only they read. */
  readonly inline: ReadonlySet<Node>;
  readonly folds: ReadonlySet<Node>;
  readonly small: ReadonlySet<Node>;
  /** Values of small folds that they alone read. */
  readonly near: ReadonlySet<Node>;
}

/** `pinned`: values that must have memory. `sinks`: values copied into state once an element. */
export function materialise(
  r: Regions,
  pinned: ReadonlySet<Node>,
  sinks: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
  tiled: Tiled,
): Choice {
  const stored = new Set<Node>(pinned);
  for (const n of r.order) if (always(n) && !tiled.inline.has(n)) stored.add(n);

  for (const n of r.order) if (n.op === "at" && freesWhole(n, stored)) stored.add(n);

  const product = contractionOperands(r, users, stored, tiled);
  const evaluations = new Map<Node, number>();
  // A weight and the master copy that it is rounded from are written by one kernel, from one evaluation.
  const written = new Set(sinks);
  const isRounded = (n: Node) => n.op === "cast" && written.has(n) && written.has(n.args[0]);
  for (const n of sinks) evaluations.set(n, (evaluations.get(n) ?? 0) + sizeOf(n));
  const count = (n: Node, by: Node, times: number) => {
    let t = times;
    const home = r.home.get(n) ?? null;
    for (let l: Loop | null = r.home.get(by) ?? null; l && l !== home && !isInside(home, l, r.parent); l = r.parent.get(l) ?? null) t *= l.count;
    evaluations.set(n, (evaluations.get(n) ?? 0) + t);
  };
  // A kernel of tiles reads an operand about once an element of its own.
  const tileReads = (f: Node) => {
    const seen = new Set<Node>();
    const todo = [...argsOf(f)];
    for (let x = todo.pop(); x; x = todo.pop()) {
      if (seen.has(x)) continue;
      seen.add(x);
      if (tiled.inline.has(x) || tiled.small.has(x)) todo.push(...argsOf(x));
      if (!tiled.inline.has(x)) count(x, f, sizeOf(x));
    }
  };
  for (const n of [...r.order].reverse()) {
    if (tiled.inline.has(n)) continue;
    if (tiled.folds.has(n)) {
      tileReads(n);
      continue;
    }
    const e = evaluations.get(n) ?? 0;
    if (!stored.has(n) && !never(n) && !product.inner.has(n)) {
      const body = scalarBody(n);
      const own = (body ? bodyWork(body) : n.op === "random" ? 40 : n.op === "cast" ? 1 : 0) + LOAD * argsOf(n).length;
      const free = own <= LOAD && e <= sizeOf(n) * 64; // a view, a rename, a broadcast: reading it is reading its argument
      if (!free && !tiled.near.has(n) && e * own > sizeOf(n) * (own + STORE) + e * LOAD) stored.add(n);
    }
    const isStored = stored.has(n);
    for (const a of readBy(n, r)) {
      if (product.inner.has(n) || isRounded(n)) continue; // counted through the fold, or with its own sink
      if (never(n)) {
        // A loop's start is copied once; a slice stands for what it is a slice of.
        count(a, n, n.op === "leaf" && r.owner.get(n)?.slices.includes(n) ? e : sizeOf(a));
        continue;
      }
      const times = isStored ? (n.op === "fold" || n.op === "scan" || n.op === "top" ? foldDomain(n) : sizeOf(n)) : e;
      count(a, n, times);
    }
    for (const { node, size } of product.operands.get(n) ?? []) count(node, n, size * PACKING);
  }
  cap(r, stored, tiled);
  return { stored, epilogue: epilogues(r, stored, pinned, users, tiled) };
}
/** A few elements chosen from a large value (a position's own logit among all) would keep all of it until they are read: they are
 *  stored, so that it may be overwritten. */
const freesWhole = (n: Node, stored: ReadonlySet<Node>): boolean => argsOf(n).some((a) => stored.has(a) && sizeOf(a) >= FEW * sizeOf(n));
/** A sum over a product of maps: the products are walked through, and each factor is read once an element of its own. */
function contractionOperands(r: Regions, users: ReadonlyMap<Node, readonly Node[]>, stored: Set<Node>, tiled: Tiled) {
  const inner = new Set<Node>();
  const operands = new Map<Node, { node: Node; size: number }[]>();
  for (const n of r.order) {
    if (n.op !== "fold" || n.args.length !== 1 || !isSum(n) || tiled.inline.has(n) || tiled.folds.has(n)) continue;
    const found: { node: Node; axes: readonly string[] }[] = [];
    const walked: Node[] = [];
    const walk = (x: Node): void => {
      const body = scalarBody(x);
      const args = body && productArgs(body);
      if (x !== n.args[0] && isFinish(x, r, tiled)) stored.add(x);
      if (x.op === "map" && args && (users.get(x)?.length ?? 0) === 1 && !stored.has(x)) {
        walked.push(x);
        for (const name of args) walk(x.args[x.names.indexOf(name)] as Node);
      } else found.push({ node: x, axes: Object.keys(x.axes) });
    };
    walk(n.args[0] as Node);
    const rows = Object.keys(n.axes);
    const spans = found.filter((f) => f.axes.some((a) => n.over.includes(a))).map((f) => f.axes.filter((a) => rows.includes(a)));
    const parts = spans.some((s) => spans.some((t) => s.some((a) => !t.includes(a)) && t.some((a) => !s.includes(a))));
    if (!parts) continue;
    for (const w of walked) inner.add(w);
    operands.set(
      n,
      found.map((f) => ({ node: f.node, size: sizeOf(f.node) })),
    );
  }
  return { inner, operands };
}
/** A point-wise value of a product over the product's own axes: its kernel stores it too (epilogues.ts), and the operand is
 *  read in place rather than computed while it is packed. */
function isFinish(x: Node, r: Regions, tiled: Tiled): boolean {
  const home = r.home.get(x) ?? null;
  const seen = new Set<Node>();
  const todo = x.op === "map" ? [...x.args] : [];
  for (let a = todo.pop(); a; a = todo.pop()) {
    if (seen.has(a) || !sameAxes(a, x) || (r.home.get(a) ?? null) !== home) continue;
    seen.add(a);
    if (a.op === "fold" && a.args.length === 1 && isSum(a) && !tiled.folds.has(a) && !tiled.inline.has(a)) return true;
    if (a.op === "map" || a.op === "label") todo.push(...argsOf(a));
  }
  return false;
}
function isSum(n: Extract<Node, { op: "fold" }>): boolean {
  const c = n.monoid.combine;
  if (c.kind !== "scalar") return false;
  const body = c.at[n.field];
  return body?.kind === "call" && body.prim === "add" && n.monoid.empty[n.field] === 0;
}
/** The args of a body that is a product of args and constants. */
function productArgs(body: Scalar): readonly string[] | undefined {
  if (body.kind === "arg") return [body.name];
  if (body.kind === "const") return [];
  if (body.kind === "call" && (body.prim === "mul" || body.prim === "neg")) {
    const parts = body.args.map(productArgs);
    return parts.every((p) => p) ? parts.flatMap((p) => p as readonly string[]) : undefined;
  }
  return undefined;
}

/** Kernels of bounded size: a value that would make an expression too large is stored. */
function cap(r: Regions, stored: Set<Node>, tiled: Tiled): void {
  const weight = new Map<Node, number>();
  for (const n of r.order) {
    if (never(n)) {
      weight.set(n, 1);
      continue;
    }
    const body = scalarBody(n);
    const inner = argsOf(n).reduce((sum, a) => sum + (stored.has(a) ? 1 : (weight.get(a) ?? 1)), body ? terms([body]).length : 1);
    if (inner > LARGEST && !stored.has(n) && !tiled.inline.has(n)) stored.add(n);
    weight.set(n, stored.has(n) ? 1 : inner);
  }
}

/** The same value with its axes in another order. */
const isReordered = (n: Node): boolean =>
  n.op === "view" && n.index.kind === "scalar" && Object.entries(n.index.at).every(([a, s]) => s.kind === "index" && s.axis === a);

/** A sum over a one-hot condition, index = data: elements are added where the data say (form.ts), and finished by no one. Folded
 *  row by row instead, every row would walk all of them. */
function addsWhereChosen(n: Extract<Node, { op: "fold" }>): boolean {
  const [x] = n.args as readonly [Node];
  const body = scalarBody(x);
  if (!body || !isSum(n) || body.kind !== "call" || body.prim !== "select") return false;
  const [condition, , otherwise] = body.args as readonly [Scalar, Scalar, Scalar];
  if (otherwise.kind !== "const" || otherwise.value !== 0) return false;
  const todo = [condition];
  for (let c = todo.pop(); c; c = todo.pop()) {
    if (c.kind !== "call") continue;
    if (c.prim === "and") todo.push(...c.args);
    const hot = c.prim === "eq" && c.args.some((a) => a.kind === "index" && a.axis in n.axes);
    // Two indices equal, each of its own loop, are no data.
    if (hot && c.args.some((a) => terms([a]).some((t) => t.kind === "arg"))) return true;
  }
  return false;
}

/** Follows each fold through its only users, maps over the same axes, and moves its memory to the last of them. */
function epilogues(
  r: Regions,
  stored: Set<Node>,
  pinned: ReadonlySet<Node>,
  users: ReadonlyMap<Node, readonly Node[]>,
  tiled: Tiled,
): Map<Node, Node> {
  const out = new Map<Node, Node>();
  /** Values between a fold and its host, the host included: they belong to that kernel alone. */
  const taken = new Set<Node>();
  const onlyUser = (n: Node): Node | undefined => (users.get(n)?.length === 1 ? users.get(n)?.[0] : undefined);
  const hostable = (u: Node, n: Node): boolean =>
    (u.op === "map" || u.op === "label" || u.op === "stop" || u.op === "cast" || isReordered(u)) &&
    sameAxes(u, n) &&
    r.home.get(u) === r.home.get(n) &&
    !taken.has(u);
  for (const n of r.order) {
    if (n.op !== "fold" || n.args.length !== 1 || pinned.has(n) || !stored.has(n) || tiled.folds.has(n) || addsWhereChosen(n)) continue;
    let last: Node = n;
    const chain: Node[] = [];
    for (let u = onlyUser(last); u && hostable(u, n) && !tiled.near.has(u) && !tiled.inline.has(u); u = onlyUser(last)) {
      last = u;
      chain.push(u);
      if (pinned.has(last) || stored.has(last)) break;
    }
    if (last === n) continue;
    out.set(n, last);
    for (const u of chain) taken.add(u);
    stored.delete(n);
    stored.add(last);
  }
  return out;
}
