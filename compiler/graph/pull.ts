// Reverse mode over one region of a graph: from cotangents of some nodes to the cotangents of all that they depend on.
// Operations have their rules in dsl/derivative; a loop's derivative is built here from those rules:
//
//   forward    for i: carry ← body(carry, slice_i, captured), emitting values
//   backward   for i from the other end: from the cotangents of the carry after i and of what iteration i emitted, those
//              of the carry before i (the backward loop's own carry), of slice_i (emitted), and of captured nodes (added
//              up in further carries, from 0)
//
// The body is differentiated on its own nodes; what the result needs of them is then replaced by what the forward loop
// keeps (`residuals.ts`), emitted there and sliced in here.
import { carry, emit, fold, leaf, loop as makeLoop, scan } from "../../dsl/build.js";
import { derive, type Use } from "../../dsl/derivative/index.js";
import { add, freshAxis, isFloat, rename, zeros } from "../../dsl/derivative/terms.js";
import type { FoldNode, Leaf, Loop, Node, ScanNode } from "../../dsl/node.js";
import { onBehalfOf } from "../../dsl/places.js";
import { isKept } from "./residuals.js";
import { below, bodyOf, capturedNodes, isLoopNode, order, partsInRegion, placeholders, rebuild, type Scopes, scopes } from "./walk.js";

type Cotangents = Map<Node, Node>;
const accumulate = (cts: Cotangents, n: Node, ct: Node) => {
  const known = cts.get(n);
  cts.set(n, known ? add(known, ct) : ct);
};

/** Results of one computation are differentiated together: this stands for all of them. */
function groupOf(n: Node): Node | Loop {
  if (isLoopNode(n)) return n.loop;
  if ((n.op !== "fold" && n.op !== "scan") || n.args.length === 1) return n;
  return siblings(n)[0] as Node;
}
function siblings(n: FoldNode | ScanNode): readonly Node[] {
  const xs = Object.fromEntries(Object.keys(n.monoid.empty).map((c, i) => [c, n.args[i] as Node]));
  return Object.values(n.op === "fold" ? fold(xs, n.monoid, n.over) : scan(xs, n.monoid, n.over, n));
}

/** The nodes among `region` (parts before wholes) that depend on an active one. */
export function activeIn(region: readonly Node[], given: ReadonlySet<Node>, scope: Scopes): Set<Node> {
  const active = new Set(given);
  for (const n of region) if (!active.has(n) && isFloat(n) && n.op !== "stop" && partsInRegion(n, scope).some((p) => active.has(p))) active.add(n);
  return active;
}

/** `region`: the nodes to go through, parts before wholes. `cts` comes with the seeds and leaves with the cotangents of
 *  all active nodes that have any. */
export function pull(region: readonly Node[], active: ReadonlySet<Node>, cts: Cotangents, scope: Scopes): void {
  const first = new Map<Node | Loop, Node>();
  const members = new Map<Node | Loop, Node[]>();
  for (const n of region) {
    const group = groupOf(n);
    if (!first.has(group)) first.set(group, n);
    const all = members.get(group) ?? [];
    all.push(n);
    members.set(group, all);
  }
  for (const n of [...region].reverse()) {
    // Every use of every member stands after the first of them.
    const group = groupOf(n);
    if (first.get(group) !== n) continue;
    const uses: Use<Node>[] = [];
    for (const m of members.get(group) ?? []) {
      const ct = cts.get(m);
      if (ct && active.has(m)) uses.push({ node: m, ct });
    }
    const [use, ...more] = uses;
    if (!use) continue;
    if (isLoopNode(n)) {
      for (const [part, ct] of throughLoop(n.loop, uses, active, scope)) if (active.has(part)) accumulate(cts, part, ct);
      continue;
    }
    const args = partsInRegion(n, scope);
    const needs = args.map((a) => active.has(a));
    if (!needs.some(Boolean)) continue;
    const through = onBehalfOf(n, () => derive([use, ...more], needs));
    through.forEach((ct, i) => {
      if (ct && needs[i]) onBehalfOf(args[i] as Node, () => accumulate(cts, args[i] as Node, ct));
    });
  }
}

function throughLoop(l: Loop, uses: readonly Use<Node>[], activeOutside: ReadonlySet<Node>, scope: Scopes): Cotangents {
  const emits = uses.flatMap(({ node, ct }) => (node.op === "emit" ? [{ of: node.of, ct }] : []));
  const targets = [...l.next, ...emits.map((e) => e.of)];
  const captured = capturedNodes(l, targets, scope).filter((n) => activeOutside.has(n));
  const body = bodyOf(l, targets, scope);

  // Which carries matter: those that start active, or become so.
  const given = new Set<Node>(captured);
  l.slices.forEach((s, k) => {
    if (activeOutside.has(l.xs[k] as Node) && isFloat(s)) given.add(s);
  });
  l.carry.forEach((c, k) => {
    if (activeOutside.has(l.init[k] as Node) && isFloat(c)) given.add(c);
  });
  let active = activeIn(body, given, scope);
  for (let changed = true; changed; ) {
    changed = false;
    l.carry.forEach((c, k) => {
      if (given.has(c) || !isFloat(c) || !active.has(l.next[k] as Node)) return;
      given.add(c);
      changed = true;
    });
    if (changed) active = activeIn(body, given, scope);
  }
  const carried = l.carry.flatMap((c, k) => (active.has(c) ? [k] : []));

  // The body's derivative, on temporary placeholders for the cotangents that come in.
  const later = carried.map((k) => leaf("bound", `later${l.id}.${k}`, (l.carry[k] as Leaf).axes, "f32"));
  const emitted = emits.map(({ of }, k) => leaf("bound", `emitted${l.id}.${k}`, of.axes, "f32"));
  const temporary: Loop = { ...l, id: -1, carry: later, slices: emitted, counter: leaf("bound", "unused", {}, "i32"), next: [], init: [], xs: [] };
  const cts: Cotangents = new Map();
  carried.forEach((k, i) => {
    accumulate(cts, l.next[k] as Node, later[i] as Node);
  });
  emits.forEach(({ of }, k) => {
    if (active.has(of)) accumulate(cts, of, emitted[k] as Node);
  });
  pull(body, active, cts, scope);
  const ofCarry = carried.map((k) => cts.get(l.carry[k] as Node));
  const ofSlice = l.slices.map((s) => (active.has(s) ? cts.get(s) : undefined));
  const ofCaptured = captured.map((c) => cts.get(c));

  const results = [...ofCarry, ...ofSlice, ...ofCaptured].filter((n) => n !== undefined);
  const { keep, again } = residuals(l, results, temporary, scope);
  const seeds = new Map(uses.flatMap(({ node, ct }) => (node.op === "carry" ? [[node.index, ct] as const] : [])));
  const sums = captured.filter((_, i) => ofCaptured[i]);
  let slices: readonly (Node | undefined)[] = [];
  const back = makeLoop(
    {
      axis: l.axis,
      count: l.count,
      reverse: !l.reverse,
      init: [...carried.map((k) => seeds.get(k) ?? zeros((l.carry[k] as Leaf).axes)), ...sums.map((c) => zeros(c.axes))],
      xs: [...emits.map((e) => e.ct), ...keep],
    },
    (states, given, counter) => {
      const put = new Map<Node, Node>([[l.counter, counter]]);
      for (const [i, t] of later.entries()) put.set(t, states[i] as Node);
      for (const [k, t] of emitted.entries()) put.set(t, given[k] as Node);
      for (const [n, make] of again) put.set(n, make(given.slice(emits.length)));
      const made = rebuild(
        results,
        (n) => n,
        (n) => put.get(n) ?? (isFixed(n, l, temporary, scope) ? n : undefined),
      ).to;
      const now = (n: Node | undefined) => (n ? (made.get(n) ?? put.get(n)) : undefined);
      slices = ofSlice.map(now);
      return [
        ...carried.map((k, i) => now(ofCarry[i]) ?? zeros((l.carry[k] as Leaf).axes)),
        ...sums.map((c, i) => add(states[carried.length + i] as Node, now(ofCaptured[captured.indexOf(c)]) as Node)),
      ];
    },
  );
  const out: Cotangents = new Map();
  carried.forEach((k, i) => {
    accumulate(out, l.init[k] as Node, carry(back, i));
  });
  l.xs.forEach((x, k) => {
    const ct = slices[k];
    if (ct) accumulate(out, x, emit(back, ct));
  });
  sums.forEach((c, i) => {
    accumulate(out, c, carry(back, carried.length + i));
  });
  return out;
}
/** Known before, and outside the loop: stays as it is, with all below it. */
const isFixed = (n: Node, l: Loop, temporary: Loop, scope: Scopes): boolean =>
  scope.has(n) && !scope.get(n)?.has(l) && !placeholders(temporary).some((p) => p === n);

interface Residuals {
  /** What the backward loop slices. */
  readonly keep: readonly Node[];
  /** For values of the forward body, what they are in the backward one, given its slices of `keep`. */
  readonly again: ReadonlyMap<Node, (slices: readonly Leaf[]) => Node>;
}
/** What `results` need of the forward body. */
function residuals(l: Loop, results: readonly Node[], temporary: Loop, known: Scopes): Residuals {
  const parts = (n: Node): readonly Node[] => (known.has(n) && !known.get(n)?.has(l) ? [] : below(n));
  const nodes = order(results, parts);
  const scope = scopes(nodes, [temporary, l], known);
  const before = loopsIn(known);
  /** A value of the forward body, free of the backward pass. (Bodies of inner forward loops are not reached: their loops'
   *  results are kept.) */
  const isForward = (n: Node): boolean => {
    const s = scope.get(n);
    return s?.has(l) === true && [...s].every((o) => before.has(o));
  };
  const keep: Node[] = [];
  const again = new Map<Node, (slices: readonly Leaf[]) => Node>();
  const slot = (stacked: Node, of: Node) => {
    const k = keep.push(stacked) - 1;
    again.set(of, (slices) => slices[k] as Node);
  };
  order(results, (n) => {
    if (!isForward(n) || n.op === "leaf") {
      const at = l.slices.indexOf(n as Leaf);
      if (at >= 0) slot(l.xs[at] as Node, n);
      else if (l.carry.includes(n as Leaf)) slot(emit(l, n), n);
      return parts(n);
    }
    if (!isKept(n) || (l.axis in n.axes && !isLoopNode(n))) return parts(n);
    if (l.axis in n.axes) {
      // An inner loop over an axis of the same name: parked under another.
      const apart = freshAxis(l.axis, n.axes);
      const k = keep.push(emit(l, rename(n, new Map([[l.axis, apart]])))) - 1;
      again.set(n, (slices) => rename(slices[k] as Node, new Map([[apart, l.axis]])));
    } else slot(emit(l, n), n);
    return [];
  });
  return { keep, again };
}
const loopsKnown = new WeakMap<Scopes, ReadonlySet<Loop>>();
function loopsIn(scope: Scopes): ReadonlySet<Loop> {
  const known = loopsKnown.get(scope);
  if (known) return known;
  const out = new Set<Loop>();
  for (const s of scope.values()) for (const l of s) out.add(l);
  loopsKnown.set(scope, out);
  return out;
}
