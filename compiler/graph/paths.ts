// A logit expression as a sum over paths of products (quack.md, "The rule, derived from any logit expression").
//
// Walking from the logits down to the model's inputs, every value becomes a list of paths; a path is a number times a
// product of tensors (weights, and whatever is held fixed: inputs, positions, masks), summed over the axes that have been
// contracted. A view is applied to each factor, a contraction marks its axis, a product multiplies lists. What a factor's
// norm runs over is then what was contracted. `bounded` maps are one step of their stated norm, however they are written.
import { at, map, view } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { indexOf, scalarOf } from "../../dsl/derivative/rule.js";
import { scalar as body, freshAxis, rename } from "../../dsl/derivative/terms.js";
import { boundOf } from "../../dsl/label.js";
import { argsOf, type Extent, type Leaf, type Loop, type MapNode, type Node, type Shape, type ViewNode } from "../../dsl/node.js";
import { call, constant, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { describeNode, GraphError } from "./error.js";
import { order } from "./walk.js";

export interface Factor {
  /** The weight or fixed tensor, seen through the views on its way. */
  readonly tensor: Node;
  readonly weight: Leaf | null;
  /** Its axes that have been summed over. */
  readonly contracted: ReadonlySet<string>;
  /** In every contraction two other factors took part: the factor only scales, and its largest entry bounds it. */
  readonly scales: boolean;
  /** Layers that were picked from a stacked weight by number. */
  readonly picked: ReadonlyMap<string, number>;
}
export interface Path {
  readonly scale: number;
  readonly factors: readonly Factor[];
}

const most = 4096;
const refuse = (n: Node, what: string, hint: string): never => {
  throw new GraphError("rates", `deriveRates: ${what}`, hint, n);
};
const asHeuristic =
  "no bound on the change of the logits exists through it; if its operator norm is known, declare it with bounded(…, { linearIn, norm })";

/** The paths of `root`, as far as `inputs`. `owner`: the loops whose slices stand for stacked leaves. Throws GraphError. */
export function pathsOf(root: Node, inputs: ReadonlySet<Node>, owner: ReadonlyMap<Leaf, Loop>): readonly Path[] {
  const source = (n: Node): Node => {
    let of = n;
    for (;;) {
      const l = of.op === "leaf" && of.role === "bound" ? owner.get(of) : undefined;
      const k = l?.slices.indexOf(of as Leaf) ?? -1;
      if (!l || k < 0) return of;
      of = l.xs[k] as Node;
    }
  };
  const parts = (n: Node): readonly Node[] => {
    if (inputs.has(n) && n !== root) return [];
    if (boundOf(n) !== undefined && n.op === "label") return n.inputs;
    const from = source(n);
    return from === n ? argsOf(n) : [from];
  };
  const paths = new Map<Node, readonly Path[]>();
  for (const n of order([root], parts)) {
    const below = parts(n);
    const varies = below.some((p) => hasWeight(paths.get(p) as readonly Path[]));
    let made: readonly Path[];
    if (n.op === "leaf" && n.role === "param" && !inputs.has(n)) made = [{ scale: 1, factors: [factor(n, n)] }];
    else if (n.op === "leaf" && below.length === 1) made = paths.get(below[0] as Node) as readonly Path[];
    else if (n.op === "constant") made = [{ scale: Number(n.value), factors: [] }];
    else if (!varies) made = [{ scale: 1, factors: [factor(n, null)] }];
    else made = through(n, (a) => paths.get(a) as readonly Path[]);
    if (made.length > most)
      refuse(n, `the logits are a sum of more than ${most} products`, "label an earlier value, or declare a part of it as bounded");
    paths.set(n, made);
  }
  return (paths.get(root) as readonly Path[]).filter((p) => hasWeight([p]));
}
const factor = (tensor: Node, weight: Leaf | null): Factor => ({ tensor, weight, contracted: new Set(), scales: true, picked: new Map() });
const hasWeight = (paths: readonly Path[]): boolean => paths.some((p) => p.factors.some((f) => f.weight !== null));

function through(n: Node, of: (a: Node) => readonly Path[]): readonly Path[] {
  switch (n.op) {
    case "map":
      return polynomial(n, of);
    case "view":
      return of(n.args[0]).map((p) => ({ ...p, factors: p.factors.map((f) => viewed(f, n)) }));
    case "at": {
      const [x, ...indices] = n.args;
      return of(x).map((p) => ({
        ...p,
        factors: p.factors.map((f) => {
          const own = n.along.flatMap((a, k) => (free(f, a) ? [{ a, i: indices[k] as Node }] : []));
          if (own.length === 0) return f;
          if (f.weight && own.some(({ i }) => i.op !== "constant"))
            return refuse(n, "a weight is read through an index tensor", "label the logits after the lookup's result became the model's input");
          const picked = new Map(f.picked);
          for (const { a, i } of own) if (i.op === "constant") picked.set(a, Number(i.value));
          return {
            ...f,
            picked,
            tensor: at(
              f.tensor,
              own.map((o) => o.a),
              own.map((o) => o.i),
            ),
          };
        }),
      }));
    }
    case "fold":
      if (kindOf(n.monoid) !== "sum") return refuse(n, `${describeNode(n)} is no sum`, asHeuristic);
      return of(n.args[0] as Node).map((p) => n.over.reduce((q, axis) => contracted(q, axis, (n.args[0] as Node).axes[axis] as Extent, n), p));
    case "label": {
      const norm = boundOf(n);
      if (norm === undefined) return of(n.args[0]);
      const [x] = n.inputs as readonly [Node, ...Node[]];
      const same = Object.keys(x.axes).length === Object.keys(n.axes).length && Object.keys(x.axes).every((a) => a in n.axes);
      if (!same) return refuse(n, "a bounded map changes the axes", "rename before or after it, so that input and result have the same axes");
      return of(x).map((p) => ({ ...p, scale: p.scale * norm }));
    }
    case "cast":
    case "stop":
      return of(n.args[0]);
    default:
      return refuse(n, `${describeNode(n)} stands between a weight and the logits`, asHeuristic);
  }
}
const free = (f: Factor, axis: string): boolean => axis in f.tensor.axes && !f.contracted.has(axis);

/** The view, on a factor that may have only some of the axes that are read. */
function viewed(f: Factor, n: ViewNode): Factor {
  const x = n.args[0];
  const reads = n.reads.filter((a) => free(f, a));
  if (reads.length === 0) return f;
  const index = indexOf(n.index);
  const known = (t: Scalar): Scalar | undefined => {
    const e = t.kind === "size" ? (x.axes[t.axis] ?? n.axes[t.axis]) : undefined;
    return typeof e === "number" ? constant(e) : undefined;
  };
  const own = Object.fromEntries(reads.map((a) => [a, simplify(substitute(index[a] as Scalar, known))]));
  const used = new Set(Object.values(own).flatMap((s) => terms([s]).flatMap((t) => (t.kind === "index" ? [t.axis] : []))));
  if (Object.values(own).some((s) => terms([s]).some((t) => t.kind === "size")))
    return refuse(n, "a view depends on a run-time extent", "label the logits before it");
  const fresh: Shape = Object.fromEntries(Object.entries(n.fresh).filter(([a]) => used.has(a)));
  // An axis summed over earlier may have the name of a new one.
  const clash = Object.keys(f.tensor.axes).filter((a) => a in fresh && !reads.includes(a));
  const apart = new Map(clash.map((a) => [a, freshAxis(a, f.tensor.axes, fresh)]));
  return {
    ...f,
    tensor: view(rename(f.tensor, apart), fresh, { kind: "scalar", at: own }, reads),
    contracted: new Set([...f.contracted].map((a) => apart.get(a) ?? a)),
  };
}

/** Σ over one axis. |Σ abc| ≤ ‖a‖‖b‖‖c‖; a factor alone on the axis has |Σ a| ≤ √n ‖a‖; one that nothing has, n. */
function contracted(p: Path, axis: string, extent: Extent, n: Node): Path {
  const holders = p.factors.filter((f) => free(f, axis));
  const size = () =>
    typeof extent === "number" ? extent : refuse(n, `a sum over the run-time axis "${axis}" has no fixed norm`, "give the axis a fixed size");
  const scale = holders.length === 0 ? size() : holders.length === 1 && holders[0]?.weight ? Math.sqrt(size()) : 1;
  return {
    scale: p.scale * scale,
    factors: p.factors.map((f) =>
      holders.includes(f) ? { ...f, contracted: new Set([...f.contracted, axis]), scales: f.scales && holders.length > 2 } : f,
    ),
  };
}

interface Term {
  readonly scale: number;
  readonly args: readonly string[];
  /** Coefficients without weights that are no numbers: functions of indices and fixed inputs. */
  readonly fixed: readonly Scalar[];
}
/** Maps that a value passes with its bound: |f(x)| ≤ |x| and |f(x) − f(y)| ≤ |x − y|. */
const contractions: ReadonlySet<string> = new Set(["tanh", "sin", "atan", "asinh", "abs", "toF32", "toBf16", "toF16", "toReal"]);

function polynomial(n: MapNode, of: (a: Node) => readonly Path[]): readonly Path[] {
  const byName = new Map(n.names.map((name, i) => [name, n.args[i] as Node]));
  const varies = new Set([...byName].flatMap(([name, a]) => (hasWeight(of(a)) ? [name] : [])));
  const root = simplify(
    substitute(scalarOf(n.body), (t) => {
      const e = t.kind === "size" ? n.axes[t.axis] : undefined;
      return typeof e === "number" ? constant(e) : undefined;
    }),
  );
  const depends = new Map<Scalar, boolean>();
  const sums = new Map<Scalar, readonly Term[]>();
  const all = terms([root]);
  for (const t of all) depends.set(t, t.kind === "arg" ? varies.has(t.name) : t.kind === "call" && t.args.some((a) => depends.get(a)));
  // A normalisation is refused as what it is, not for the root in its denominator.
  for (const t of all)
    if (t.kind === "call" && t.prim === "div" && depends.get(t.args[1] as Scalar))
      return refuse(
        n,
        `${describeNode(n)} divides by a value that depends on a weight (a normalisation)`,
        `its input norm has no lower bound, so ${asHeuristic}`,
      );
  for (const t of all) {
    const terms = depends.get(t)
      ? weighted(
          t,
          n,
          (a) => sums.get(a) as readonly Term[],
          (a) => depends.get(a) === true,
        )
      : [fixedTerm(t)];
    sums.set(t, terms);
  }
  return (sums.get(root) as readonly Term[]).flatMap((t) => {
    const fixed = t.fixed.map((s) =>
      factor(
        map(
          Object.fromEntries([...byName].filter(([name]) => terms([s]).some((u) => u.kind === "arg" && u.name === name))),
          body(s),
          "f32",
          indicesIn(s, n.axes),
        ),
        null,
      ),
    );
    return t.args.reduce<readonly Path[]>(
      (all, a) => all.flatMap((p) => of(byName.get(a) as Node).map((q) => ({ scale: p.scale * q.scale, factors: [...p.factors, ...q.factors] }))),
      [{ scale: t.scale, factors: fixed }],
    );
  });
}
const indicesIn = (s: Scalar, axes: Shape): Shape => {
  const used = new Set(terms([s]).flatMap((t) => (t.kind === "index" || t.kind === "size" ? [t.axis] : [])));
  return Object.fromEntries(Object.entries(axes).filter(([a]) => used.has(a)));
};
const fixedTerm = (t: Scalar): Term =>
  t.kind === "const"
    ? { scale: Number(t.value), args: [], fixed: [] }
    : t.kind === "arg"
      ? { scale: 1, args: [t.name], fixed: [] }
      : { scale: 1, args: [], fixed: [t] };

/** A term that a weight enters. */
function weighted(t: Scalar, n: MapNode, of: (a: Scalar) => readonly Term[], depends: (a: Scalar) => boolean): readonly Term[] {
  if (t.kind === "arg") return [{ scale: 1, args: [t.name], fixed: [] }];
  if (t.kind !== "call") throw new Error("rates: a leaf without weights");
  const [a, b, c] = t.args as readonly [Scalar, Scalar, Scalar];
  const times = (p: readonly Term[], q: readonly Term[]) =>
    p.flatMap((x) => q.map((y): Term => ({ scale: x.scale * y.scale, args: [...x.args, ...y.args], fixed: [...x.fixed, ...y.fixed] })));
  const negated = (p: readonly Term[]) => p.map((x) => ({ ...x, scale: -x.scale }));
  /** Masked positions hold a constant: it changes nothing. */
  const finite = (p: readonly Term[]) => p.filter((x) => Number.isFinite(x.scale) && x.scale !== 0);
  switch (t.prim) {
    case "neg":
      return negated(of(a));
    case "add":
      return [...of(a), ...of(b)];
    case "sub":
      return [...of(a), ...negated(of(b))];
    case "mul":
      return times(of(a), of(b));
    case "fma":
      return [...times(of(a), of(b)), ...of(c)];
    case "div": {
      const divisor = of(b);
      const [only] = divisor;
      return divisor.length === 1 && only && only.args.length + only.fixed.length === 0
        ? of(a).map((x) => ({ ...x, scale: x.scale / only.scale }))
        : times(of(a), [{ scale: 1, args: [], fixed: [call("div", constant(1), b)] }]);
    }
    case "select":
      if (depends(a)) return refuse(n, `${describeNode(n)} chooses by a value that depends on a weight`, asHeuristic);
      return finite([...of(b), ...of(c)]);
    case "max":
    case "min":
      return finite([...of(a), ...of(b)]);
    default:
      if (contractions.has(t.prim)) return of(a);
      return refuse(n, `${describeNode(n)} takes ${t.prim} of a value that depends on a weight, which is not Lipschitz`, asHeuristic);
  }
}
