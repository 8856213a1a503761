// Which nodes a program needs, and where each is computed: at the top, or in a loop's body. A node belongs to the
// innermost loop whose placeholders it depends on; what does not depend on them is computed once, outside.
import { argsOf, type CarryNode, type EmitNode, type Leaf, type Loop, type Node } from "../../dsl/node.js";

export type Item = Node | Loop;
const isLoop = (x: Item): x is Loop => "init" in x;

export interface Regions {
  /** Every node needed, arguments before users; loop bodies before their carries and emits. */
  readonly order: readonly Node[];
  /** Innermost loop, or null at the top. */
  readonly home: ReadonlyMap<Node, Loop | null>;
  readonly loops: readonly Loop[];
  readonly parent: ReadonlyMap<Loop, Loop | null>;
  /** Numbers of the carries that anything needs, and the body nodes that are emitted. */
  readonly carries: ReadonlyMap<Loop, ReadonlySet<number>>;
  readonly emitted: ReadonlyMap<Loop, ReadonlySet<Node>>;
  /** Placeholder → its loop. */
  readonly owner: ReadonlyMap<Leaf, Loop>;
}

const loopOf = (n: Node): Loop | undefined => (n.op === "carry" || n.op === "emit" ? n.loop : undefined);

/** `also`: what must come before a node besides what it is computed from. */
export function regions(roots: readonly Node[], also: ReadonlyMap<Node, readonly Node[]> = new Map()): Regions {
  const { loops, owner } = discover(roots);
  const carries = new Map(loops.map((l) => [l, new Set<number>()]));
  const emitted = new Map(loops.map((l) => [l, new Set<Node>()]));

  // Liveness: a carry lives if its final value is used or a live body node reads it.
  const live = new Set<Node>();
  const todo: Node[] = [...roots];
  const wake = (l: Loop, i: number) => {
    const known = carries.get(l) as Set<number>;
    if (known.has(i)) return;
    known.add(i);
    todo.push(l.init[i] as Node, l.next[i] as Node, l.carry[i] as Node);
  };
  for (let n = todo.pop(); n; n = todo.pop()) {
    if (live.has(n)) continue;
    live.add(n);
    if (n.op === "carry") wake(n.loop, n.index);
    else if (n.op === "emit") {
      (emitted.get(n.loop) as Set<Node>).add(n.of);
      todo.push(n.of);
    } else if (n.op === "leaf") {
      const l = owner.get(n);
      if (!l) continue;
      const i = l.carry.indexOf(n);
      if (i >= 0) wake(l, i);
      const k = l.slices.indexOf(n);
      if (k >= 0) todo.push(l.xs[k] as Node);
    } else todo.push(...argsOf(n));
  }

  // An order in which a placeholder comes after what it stands for, and a loop's results after its whole body.
  const deps = (n: Node): readonly Node[] => {
    if (n.op === "leaf") {
      const l = owner.get(n);
      if (!l) return [];
      const i = l.carry.indexOf(n);
      if (i >= 0) return [l.init[i] as Node];
      const k = l.slices.indexOf(n);
      return k >= 0 ? [l.xs[k] as Node] : [];
    }
    const l = loopOf(n);
    if (!l) return argsOf(n);
    const body = [...(carries.get(l) as Set<number>)].flatMap((i) => [l.init[i] as Node, l.next[i] as Node]);
    return [...body, ...(emitted.get(l) as Set<Node>)];
  };
  const order = topological(roots, (n) => (also.has(n) ? [...deps(n), ...(also.get(n) as readonly Node[])] : deps(n)));

  // Homes. depth(l) = number of loops around it.
  const depends = new Map<Node, ReadonlySet<Loop>>();
  const home = new Map<Node, Loop | null>();
  const parent = new Map<Loop, Loop | null>();
  const depth = new Map<Loop, number>();
  const innermost = (ls: ReadonlySet<Loop>): Loop | null => {
    let best: Loop | null = null;
    for (const l of ls) if (best === null || (depth.get(l) ?? 0) > (depth.get(best) ?? 0)) best = l;
    return best;
  };
  // A loop's surroundings are known once all that it reads from outside is: settle loops in order of first result.
  const around = new Map<Loop, Set<Loop>>();
  for (const l of loops) around.set(l, new Set());
  let changed = true;
  while (changed) {
    changed = false;
    for (const n of order) {
      const l = n.op === "leaf" ? owner.get(n) : loopOf(n);
      const mine = new Set<Loop>();
      if (n.op === "leaf") {
        if (l) {
          // A loop lies inside every loop that its slices and starts depend on, even where nothing else in it does.
          const ring = around.get(l) as Set<Loop>;
          for (const d of deps(n))
            for (const x of depends.get(d) ?? [])
              if (x !== l && !ring.has(x)) {
                ring.add(x);
                changed = true;
              }
          mine.add(l);
          for (const a of ring) mine.add(a);
        }
      } else {
        for (const d of deps(n)) for (const x of depends.get(d) ?? []) if (x !== l) mine.add(x);
        if (l) {
          const ring = around.get(l) as Set<Loop>;
          for (const x of mine)
            if (!ring.has(x)) {
              ring.add(x);
              changed = true;
            }
        }
      }
      depends.set(n, mine);
    }
  }
  const depthOf = (l: Loop): number => {
    const known = depth.get(l);
    if (known !== undefined) return known;
    const d = 1 + Math.max(-1, ...[...(around.get(l) as Set<Loop>)].map(depthOf));
    depth.set(l, d);
    return d;
  };
  loops.forEach(depthOf);
  for (const n of order) home.set(n, innermost(depends.get(n) as ReadonlySet<Loop>));
  for (const l of loops) parent.set(l, innermost(around.get(l) as Set<Loop>));
  return { order, home, loops, parent, carries, emitted, owner };
}

/** All loops that occur anywhere below, and whose placeholder each bound leaf is. */
function discover(roots: readonly Node[]): { readonly loops: readonly Loop[]; readonly owner: ReadonlyMap<Leaf, Loop> } {
  const loops = new Set<Loop>();
  const seen = new Set<Node>();
  const todo = [...roots];
  for (let n = todo.pop(); n; n = todo.pop()) {
    if (seen.has(n)) continue;
    seen.add(n);
    todo.push(...argsOf(n));
    const l = loopOf(n);
    if (l && !loops.has(l)) {
      loops.add(l);
      todo.push(...l.next);
    }
    if (n.op === "emit") todo.push(n.of);
  }
  const owner = new Map<Leaf, Loop>();
  for (const l of loops) for (const b of [...l.carry, ...l.slices, l.counter]) owner.set(b, l);
  return { loops: [...loops], owner };
}

export function topological(roots: readonly Node[], deps: (n: Node) => readonly Node[]): readonly Node[] {
  const out: Node[] = [];
  const seen = new Set<Node>();
  const stack: { n: Node; deps: readonly Node[]; next: number }[] = [];
  const enter = (n: Node) => {
    if (seen.has(n)) return;
    seen.add(n);
    stack.push({ n, deps: deps(n), next: 0 });
  };
  for (const r of roots) {
    enter(r);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const d = top.deps[top.next++];
      if (d) enter(d);
      else {
        out.push(top.n);
        stack.pop();
      }
    }
  }
  return out;
}

/** Is `inner` this loop or inside it? */
export function isInside(inner: Loop | null, outer: Loop, parent: ReadonlyMap<Loop, Loop | null>): boolean {
  for (let l = inner; l; l = parent.get(l) ?? null) if (l === outer) return true;
  return false;
}
export type { CarryNode, EmitNode };
export { isLoop };
