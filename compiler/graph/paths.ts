// A logit expression as a sum over paths of products (docs/quack.md, "How the derivation works").
//
// Walking from the logits down to the model's inputs, every value becomes a list of paths; a path is a number times a
// product of tensors (parameters, known constants, and whatever is held fixed: inputs, positions), summed over the axes
// that have been contracted. A view is applied to each factor, a contraction links the factors that have its axis, a
// product multiplies lists (monomials.ts). What a factor's norm runs over is then what was contracted, and how it runs
// follows from the links (network.ts). `bounded` maps are one step of their stated norm, however they are written.
//
// What has no bound is refused when something needs it: the divisor of a normalisation is refused as that, and passes
// with it where heuristics are asked for.
import { at, constant as number, view } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { indexOf } from "../../dsl/derivative/rule.js";
import { freshAxis, rename, sumOver } from "../../dsl/derivative/terms.js";
import { boundOf } from "../../dsl/label.js";
import {
  type AtNode,
  argsOf,
  type CarryNode,
  type EmitNode,
  type Extent,
  type LabelNode,
  type Leaf,
  type Loop,
  type Node,
  type Shape,
  UpTo,
  type ViewNode,
} from "../../dsl/node.js";
import { constant, index, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { describeNode, GraphError } from "./error.js";
import { polynomial } from "./monomials.js";
import { finished } from "./network.js";
import { asBounded, type Factor, factor, free, jointly, linked, most, noBound, type Path, path, refuse, tooMany } from "./path.js";
import { below, order } from "./walk.js";

export type { Factor, Path } from "./path.js";

/** Paths, or why there are none. */
type Found = readonly Path[] | GraphError;

/** The paths of `root`, as far as `inputs`. `owner`: the loops whose slices stand for stacked leaves. Throws GraphError. */
export function pathsOf(
  root: Node,
  inputs: ReadonlySet<Node>,
  owner: ReadonlyMap<Leaf, Loop>,
  o: { readonly heuristic?: boolean } = {},
): readonly Path[] {
  const source = (n: Node): Node => {
    let of = n;
    for (;;) {
      const l = of.op === "leaf" && of.role === "bound" ? owner.get(of) : undefined;
      const k = l?.slices.indexOf(of as Leaf) ?? -1;
      if (!l || k < 0) return of;
      of = l.xs[k] as Node;
    }
  };
  const fixed = (n: Node): boolean => inputs.has(n) && n !== root;
  const parts = (n: Node): readonly Node[] => {
    if (fixed(n)) return [];
    if (boundOf(n) !== undefined && n.op === "label") return n.inputs;
    const from = source(n);
    return from === n ? argsOf(n) : [from];
  };
  /** Known only when the program runs. */
  const runs = new Map<Node, boolean>();
  /** What the roots are, where some nodes are known. The states of a loop are found by going through it as often as it runs,
   *  which is one walk within another for loops in loops. */
  const walk = (roots: readonly Node[], known: (n: Node) => Found | undefined): ((n: Node) => Found) => {
    const found = new Map<Node, Found>();
    const at = (n: Node): Found => (known(n) ?? found.get(n)) as Found;
    const of = (n: Node): readonly Path[] => {
      const paths = at(n);
      if (paths instanceof GraphError) throw paths;
      return paths;
    };
    for (const n of order(roots, (m) => (known(m) ? [] : parts(m)))) {
      if (known(n)) continue;
      const below = parts(n);
      const atRun =
        fixed(n) ||
        ["leaf", "random", "carry", "emit"].includes(n.op) ||
        boundOf(n) !== undefined ||
        Object.values(n.axes).some((e) => e instanceof UpTo) ||
        below.some((p) => runs.get(p) !== false);
      runs.set(n, atRun);
      let made: Found;
      if (n.op === "leaf" && n.role === "param" && !fixed(n)) made = [path([factor(n, n, "parameter")])];
      else if (n.op === "leaf" && below.length === 1) made = at(below[0] as Node);
      else if (n.op === "constant") made = [path([], Number(n.value))];
      else if ((n.op === "carry" || n.op === "emit") && !fixed(n) && weighs(n))
        made = attempt(() => (n.op === "carry" ? state(n, at) : through(n, of)));
      else if (n.op === "label" && boundOf(n) !== undefined && strays(n))
        made = attempt(() => refuse(n, otherwise, "bound the map of fixed values alone, and let the weight come in before or after it"));
      else if (!below.some((p) => depends(at(p)))) made = [path([factor(n, null, atRun ? "input" : "constant")])];
      else if (n.op === "map")
        made = attempt(() =>
          polynomial(n, { of, depends: (a) => depends(at(a)), runs: (a) => runs.get(a) !== false, heuristic: o.heuristic === true }),
        );
      else made = attempt(() => through(n, of));
      if (!(made instanceof GraphError) && made.length > most) made = attempt(() => tooMany(n));
      found.set(n, made);
    }
    return at;
  };
  /** A weight enters the loop, or stands in its body. */
  const weighs = (n: CarryNode | EmitNode): boolean =>
    order([n], (m) => (fixed(m) ? [] : below(m))).some((m) => m.op === "leaf" && m.role === "param" && !fixed(m));
  /** A weight enters a bounded map elsewhere than through what it is linear in. */
  const strays = (n: LabelNode): boolean => {
    const inside = (m: Node): readonly Node[] => (m === n.inputs[0] || fixed(m) ? [] : source(m) === m ? below(m) : [source(m)]);
    return order([n.args[0]], inside).some((m) => m.op === "leaf" && m.role === "param" && m !== n.inputs[0] && !fixed(m));
  };
  const state = (n: CarryNode, outside: (m: Node) => Found): readonly Path[] => {
    const l = n.loop;
    let now = l.init.map(outside);
    for (let step = 0; step < l.count; step++) {
      const i = l.reverse ? l.count - 1 - step : step;
      const given = new Map<Node, Found>([
        ...l.carry.map((c, k) => [c, now[k] as Found] as const),
        ...l.slices.map((s, k) => [s, sliced(l.xs[k] as Node, l.axis, i, outside)] as const),
        [l.counter, [path([], i)]],
      ]);
      now = l.next.map(walk(l.next, (m) => given.get(m) ?? outside(m)));
    }
    const last = now[n.index] as Found;
    if (last instanceof GraphError) throw last;
    return last;
  };
  const found = walk([root], () => undefined)(root);
  if (found instanceof GraphError) throw found;
  return found.filter(hasParameter).map(finished);
}
const otherwise = "a weight enters a bounded map otherwise than through what it is linear in: its norm holds only while everything else is fixed";
const sliced = (x: Node, axis: string, i: number, of: (n: Node) => Found): Found => {
  const [found, one] = [of(x), at(x, [axis], [number(i, "i32")])];
  return found instanceof GraphError ? found : found.map((p) => read(p, one as AtNode));
};
const hasParameter = (p: Path): boolean => p.factors.some((f) => f.weight !== null);
const attempt = (f: () => readonly Path[]): Found => {
  try {
    return f();
  } catch (e) {
    if (e instanceof GraphError) return e;
    throw e;
  }
};
/** A value without paths is one that has no bound, for a weight that it depends on. */
const depends = (f: Found): boolean => f instanceof GraphError || f.some(hasParameter);
function through(n: Node, of: (a: Node) => readonly Path[]): readonly Path[] {
  switch (n.op) {
    case "view":
      return of(n.args[0]).map((p) => ({ ...p, factors: p.factors.map((f) => viewed(f, n)) }));
    case "at":
      return of(n.args[0]).map((p) => read(p, n));
    case "fold": {
      const kind = kindOf(n.monoid);
      if (kind === "max" || kind === "min") {
        const values = n.args[0] as Node;
        return of(values).map((p, i) => n.over.reduce((q, axis) => chosen(q, axis, `${axis}_any${n.id}_${i}`), jointly(p, values)));
      }
      if (kind !== "sum") return refuse(n, `${describeNode(n)} is no sum: ${noBound}`, `label the logits before it, or ${asBounded}`);
      const x = n.args[0] as Node;
      return of(x).map((p) => n.over.reduce((q, axis) => contracted(q, axis, x.axes[axis] as Extent, n), p));
    }
    case "label": {
      const norm = boundOf(n);
      if (norm === undefined) return of(n.args[0]);
      const [x] = n.inputs as readonly [Node, ...Node[]];
      const same = Object.keys(x.axes).length === Object.keys(n.axes).length && Object.keys(x.axes).every((a) => a in n.axes);
      if (!same) return refuse(n, "a bounded map changes the axes", "rename before or after it, so that input and result have the same axes");
      return of(x).map((p) => jointly({ ...p, scale: p.scale * norm }, n));
    }
    case "cast":
    case "stop":
      return of(n.args[0]);
    default:
      return refuse(n, `${describeNode(n)} stands between a weight and the logits: ${noBound}`, `label the logits before it, or ${asBounded}`);
  }
}
/** A lookup in each factor that has the axis. A parameter's rows at given places are its product with vectors of one 1. */
function read(p: Path, n: AtNode): Path {
  const indices = n.args.slice(1);
  let sums = p.sums;
  const factors = p.factors.map((f): Factor => {
    const own = n.along.flatMap((a, k) => (free(f, a) ? [{ a, i: indices[k] as Node }] : []));
    const numbers = own.flatMap(({ a, i }) => (i.op === "constant" ? [{ a, i, value: Number(i.value) }] : []));
    const rows = own.filter(({ i }) => i.op !== "constant");
    if (!f.weight) return own.length === 0 ? f : seen(f, own);
    const picked = numbers.length === 0 ? f : seen(f, numbers);
    return linked(
      {
        ...picked,
        picked: new Map([...f.picked, ...numbers.map(({ a, value }) => [a, value] as const)]),
        origin: substituted(f.origin, (a) => {
          const number = numbers.find((x) => x.a === a);
          return number && constant(number.value);
        }),
      },
      rows.map(({ a }) => [a, sums++]),
    );
  });
  return { ...p, factors, sums };
}
const seen = (f: Factor, own: readonly { readonly a: string; readonly i: Node }[]): Factor => ({
  ...f,
  tensor: at(
    f.tensor,
    own.map((x) => x.a),
    own.map((x) => x.i),
  ),
});
const substituted = (origin: Factor["origin"], by: (axis: string) => Scalar | undefined): Factor["origin"] =>
  new Map([...origin].map(([a, t]) => [a, simplify(substitute(t, (u) => (u.kind === "index" ? by(u.axis) : undefined)))]));

/** The view, on a factor that may have only some of the axes that are read. */
function viewed(f: Factor, n: ViewNode): Factor {
  const x = n.args[0];
  const reads = n.reads.filter((a) => free(f, a));
  if (reads.length === 0) return f;
  const at = indexOf(n.index);
  const known = (t: Scalar): Scalar | undefined => {
    const e = t.kind === "size" ? (x.axes[t.axis] ?? n.axes[t.axis]) : undefined;
    return typeof e === "number" ? constant(e) : undefined;
  };
  const own = Object.fromEntries(reads.map((a) => [a, simplify(substitute(at[a] as Scalar, known))]));
  const used = new Set(Object.values(own).flatMap((s) => terms([s]).flatMap((t) => (t.kind === "index" ? [t.axis] : []))));
  if (Object.values(own).some((s) => terms([s]).some((t) => t.kind === "size")))
    return refuse(n, "a view depends on a run-time extent", "label the logits before it");
  const fresh: Shape = Object.fromEntries(Object.entries(n.fresh).filter(([a]) => used.has(a)));
  // An axis summed over earlier may have the name of a new one.
  const clash = Object.keys(f.tensor.axes).filter((a) => a in fresh && !reads.includes(a));
  const apart = new Map(clash.map((a) => [a, freshAxis(a, f.tensor.axes, fresh)]));
  const sums = new Map([...f.sums].map(([a, s]) => [apart.get(a) ?? a, s]));
  return {
    ...f,
    tensor: view(rename(f.tensor, apart), fresh, { kind: "scalar", at: own }, reads),
    sums,
    contracted: new Set(sums.keys()),
    origin: substituted(f.origin, (a) => own[a] ?? (apart.has(a) ? index(apart.get(a) as string) : undefined)),
  };
}

/** The extremum over an axis moves no further than the greatest of what it is taken over: the factors keep the axis, under a
 *  name that nothing else has, another path of the same value neither. */
function chosen(p: Path, axis: string, name: string): Path {
  const renamed = (f: Factor): Factor => ({
    ...f,
    tensor: rename(f.tensor, new Map([[axis, name]])),
    origin: substituted(f.origin, (a) => (a === axis ? index(name) : undefined)),
  });
  return { ...p, factors: p.factors.map((f) => (free(f, axis) ? renamed(f) : f)) };
}

/** Σ over one axis. |Σ abc| ≤ ‖a‖‖b‖‖c‖; a parameter alone on the axis has |Σ a| ≤ √n ‖a‖, a fixed tensor alone on it is
 *  another fixed tensor; one that nothing has, n. */
function contracted(p: Path, axis: string, extent: Extent, n: Node): Path {
  const holders = p.factors.filter((f) => f.kind !== "joint" && free(f, axis));
  const size = () =>
    typeof extent === "number" ? extent : refuse(n, `a sum over the run-time axis "${axis}" has no fixed norm`, "give the axis a fixed size");
  const [only] = holders;
  const alone = holders.length === 1 && only ? only : null;
  const scale = holders.length === 0 ? size() : alone?.weight ? Math.sqrt(size()) : 1;
  return {
    ...p,
    scale: p.scale * scale,
    factors: p.factors.map((f) =>
      !free(f, axis) ? f : f === alone && !f.weight ? { ...f, tensor: sumOver(f.tensor, [axis]) } : linked(f, [[axis, p.sums]]),
    ),
    sums: p.sums + 1,
  };
}
