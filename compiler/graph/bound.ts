// Expands every `bound` node: certificate and budget of the change of labelled logits (docs/quack.md, "Certificate and budget"),
// and the norms of their inputs.
//
// The logits are a sum of paths (paths.ts), each a number c times weights W and fixed tensors. With ‖W‖ ≤ a, ‖ΔW‖ ≤ δ and
// the product X of the fixed tensors' norms,
//
//   certificate   Σ_p |c| X [Π(a + δ) − Π a]
//   budget        Σ_p X Σ_W τηD/f₀(W) + Σ_p |c| X [terms of second and higher order in δ = τηD f(W)/f₀(W)]
//
// Differences of products are carried along the path by orders of δ, so that only terms of one sign are added:
// P ← P·a, F ← F·a + P·δ (first order), H ← H·(a + δ) + F·δ (second and higher). A weight that stands several times on
// a path is several factors; QuacK's factor counts all of them, so that its first-order term comes once a path
// (combine "max") or once for all paths ("sum").
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { provideSeparation } from "../../dsl/bound.js";
import { broadcast, lift, ordered, zero } from "../../dsl/derivative/terms.js";
import { type BoundNode, type BoundRole, isMatrix, type Leaf, type Loop, type Node } from "../../dsl/node.js";
import { withoutRecording } from "../../dsl/places.js";
import { arg, call, constant, type Scalar } from "../../dsl/scalar.js";
import { type Asked, changeAbove, fixedNorm, normAbove, overIndices, slack } from "./ceilings.js";
import { GraphError } from "./error.js";
import { heuristically } from "./monomials.js";
import { maxOver } from "./norms.js";
import type { Factor, Path } from "./paths.js";
import { pathsOfLogits } from "./rates.js";
import { read as readGraph } from "./read.js";
import { order, owners, type Rebuilt, rebuild } from "./walk.js";

const separating = new WeakMap<Node, readonly string[] | null>();
provideSeparation((logits) => {
  let known = separating.get(logits);
  if (known === undefined) {
    known = withoutRecording(() => axesOf(logits));
    separating.set(logits, known);
  }
  return known;
});
/** Axes that some matrix has at the end of a path; where there are tables alone, that some table has. */
function axesOf(logits: Node): readonly string[] | null {
  const whole = readGraph([logits]);
  if (isLeft(whole)) return null;
  const [root] = whole.right.roots as readonly [Node];
  let paths: readonly Path[];
  try {
    paths = pathsOfLogits(root, new Map(owners(order([root]))));
  } catch (e) {
    if (e instanceof GraphError) return null; // said when the bound is compiled
    throw e;
  }
  const parameters = paths.flatMap((p) => p.factors.filter((f) => f.weight !== null));
  const matrices = parameters.filter(({ weight }) => isMatrix(weight));
  return (matrices.length > 0 ? matrices : parameters).flatMap((f) => Object.keys(f.tensor.axes).filter((a) => !f.contracted.has(a)));
}

export function expandBounds(roots: readonly Node[]): Either<GraphError, Rebuilt> {
  const nodes = order(roots);
  if (!nodes.some((n) => n.op === "bound")) return right({ roots, to: new Map(nodes.map((n) => [n, n])) });
  const owner = new Map(owners(nodes));
  try {
    const known = new Map<Node, Labelled>();
    const made = new Map<string, Node>();
    // The derivation reads the graph as it was, the values put in are those of the new one.
    return right(
      rebuild(roots, (n, was) => (n.op === "bound" && was.op === "bound" ? withoutRecording(() => expand(n, was, { owner, known, made })) : n)),
    );
  } catch (e) {
    if (e instanceof GraphError) return left(e);
    throw e;
  }
}

/** The labelled value, seen out of the loops that emit it. */
interface Labelled {
  readonly inputs: ReadonlySet<Node>;
  readonly loops: readonly Loop[];
  readonly paths: readonly Path[];
}
function labelled(n: BoundNode, owner: Map<Leaf, Loop>): Labelled {
  const loops: Loop[] = [];
  let of = n.args[0];
  for (; of.op === "emit"; of = of.of) loops.push(of.loop);
  const inputs = new Set(of.op === "label" ? of.inputs : []);
  try {
    return { inputs, loops, paths: pathsOfLogits(n.args[0], owner) };
  } catch (e) {
    // A heuristic has no bound.
    if (e instanceof GraphError)
      throw new GraphError("rates", e.what.replace(/^\w+: /, `${called[n.what]}: `), (e.hint ?? "").replace(`${heuristically}, or `, ""), e.node);
    throw e;
  }
}
const called = { certificate: "logitCertificate", budget: "logitBudget", inputs: "inputNorms" } as const;

/** What is known of a weight. */
type Known = Partial<Readonly<Record<BoundRole, Node>>>; // which there are depends on what is asked
interface Laid {
  readonly weights: ReadonlyMap<Leaf, Known>;
  readonly rate: Node | undefined;
  readonly size: Node | undefined;
  readonly measured: readonly Node[];
}
function laid(n: BoundNode): Laid {
  const weights = new Map<Leaf, Record<string, Node>>();
  const all: { rate?: Node; size?: Node } = {};
  const measured: Node[] = [];
  let own: Record<string, Node> = {};
  for (const [i, role] of n.roles.entries()) {
    const x = n.args[i + 1] as Node;
    if (role === "weight") {
      own = {};
      weights.set(x as Leaf, own);
    } else if (role === "rate" || role === "size") all[role] = x;
    else if (role === "input") measured.push(x);
    else own[role] = x;
  }
  return { weights, rate: all.rate, size: all.size, measured };
}

/** Names for the nodes that one scalar body reads. */
class Reads {
  readonly inputs: Record<string, Node> = {};
  readonly #names = new Map<Node, string>();
  of(x: Node): Scalar {
    const known = this.#names.get(x) ?? `x${this.#names.size}`;
    this.#names.set(x, known);
    this.inputs[known] = x;
    return arg(known);
  }
}
const plus = (a: Scalar, b: Scalar): Scalar => (a === zero ? b : b === zero ? a : call("add", a, b));
const one = constant(1);
const times = (a: Scalar, b: Scalar): Scalar => (a === zero || b === zero ? zero : a === one ? b : b === one ? a : call("mul", a, b));

interface Run {
  readonly owner: Map<Leaf, Loop>;
  readonly known: Map<Node, Labelled>;
  readonly made: Map<string, Node>;
}
function expand(n: BoundNode, was: BoundNode, { owner, known, made }: Run): Node {
  const logits = known.get(was.args[0]) ?? labelled(was, owner);
  known.set(was.args[0], logits);
  const given = laid(n);
  const asked: Asked = {
    what: called[n.what],
    logits: was.args[0],
    norm: n.norm,
    kept: n.axes,
    owner,
    made,
    inputs: logits.inputs,
    measured: outside(was, logits, given),
    size: given.size,
  };
  const read = new Reads();
  const fixed = (p: Path, counts: (f: Factor) => boolean = (f) => f.weight === null): Scalar =>
    p.factors.filter(counts).reduce((x, f) => times(x, read.of(fixedNorm(f, p.factors, asked).norm)), one);
  let total: Scalar = zero;
  if (n.what === "inputs") {
    const norms = new Set(
      logits.paths
        .flatMap((p) => p.factors.flatMap((f) => (f.weight === null ? [fixedNorm(f, p.factors, asked)] : [])))
        .flatMap((x) => (x.input ? [x.norm] : [])),
    );
    for (const x of norms) total = total === zero ? read.of(x) : call("max", total, read.of(x));
  } else {
    const firsts = new Firsts(n.combine);
    for (const p of logits.paths) {
      const scale = fixed(p);
      let [P, F, H]: readonly Scalar[] = [one, zero, zero] as const;
      for (const f of p.factors) {
        if (f.weight === null) continue;
        const own = given.weights.get(f.weight) ?? {};
        const a = read.of(normAbove(f, asked));
        const { delta, first } = stepOf(f, own, given, asked, read);
        // Constants are in f₀ already.
        if (first)
          firsts.add(
            f.weight,
            p,
            fixed(p, (g) => g.kind === "input"),
            first,
          );
        // The first order of a weight with f₀ is taken from there.
        [P, F, H] = [
          times(P, a),
          plus(times(F as Scalar, a), times(P as Scalar, delta)),
          plus(times(H as Scalar, plus(a, delta)), times(F as Scalar, delta)),
        ];
      }
      const rest = n.what === "certificate" ? plus(F as Scalar, H as Scalar) : plus(unrated(p, given, asked, read), H as Scalar);
      total = plus(total, times(times(constant(Math.abs(p.scale)), scale), rest));
    }
    total = plus(total, firsts.total(n.norm === "spectral" ? constant(slack) : one));
  }
  const sum = lift(read.inputs, total);
  const greatest = maxOver(
    sum,
    Object.keys(sum.axes).filter((a) => !(a in n.axes)),
  );
  return ordered(broadcast(greatest, n.axes), n.axes);
}
/** By the inputs' nodes in the label, what they are outside its loops. */
function outside(was: BoundNode, { loops }: Labelled, { measured }: Laid): ReadonlyMap<Node, Node> {
  const inner = was.roles.flatMap((role, i) => {
    if (role !== "input") return [];
    let x = was.args[i + 1] as Node;
    while (x.op === "emit" && loops.includes(x.loop)) x = x.of;
    return [x];
  });
  return new Map(inner.map((x, i) => [x, measured[i] as Node]));
}

/** The factor's δ, and τηD/f₀ where it has one. */
function stepOf(f: Factor, own: Known, given: Laid, c: Asked, read: Reads): { readonly delta: Scalar; readonly first: Scalar | null } {
  if (own.change) return { delta: read.of(changeAbove(f, own.change, c)), first: null };
  if (own.move) return { delta: read.of(overIndices(f, own.move, c)), first: null };
  if (own.start && own.factor && own.step && given.rate) {
    const perFactor = lift({ rate: given.rate, step: own.step, start: own.start }, call("div", call("mul", arg("rate"), arg("step")), arg("start")));
    const delta = lift({ perFactor, factor: own.factor }, call("mul", arg("perFactor"), arg("factor")));
    return { delta: read.of(overIndices(f, delta, c)), first: read.of(overIndices(f, perFactor, c)) };
  }
  throw new GraphError(
    "rates",
    `${c.what}: how far "${f.weight?.name}" moves is not given, and the logits depend on it`,
    "give every weight below the logits its greatest move (0 for one that stands still); gains and tables have no rate and come beside",
    c.logits,
  );
}
/** First order in the steps of the weights without f₀: they are few, so each is worked out alone. */
function unrated(p: Path, given: Laid, c: Asked, read: Reads): Scalar {
  let sum: Scalar = zero;
  for (const f of p.factors) {
    const own = f.weight && given.weights.get(f.weight);
    if (!own || own.start) continue;
    let product = stepOf(f, own, given, c, read).delta;
    for (const g of p.factors) if (g !== f && g.weight !== null) product = times(product, read.of(normAbove(g, c)));
    sum = plus(sum, product);
  }
  return sum;
}

/** τηD/f₀ of the weights, times the inputs' norms: once a path, or once in all. Where one weight stands on it with
 *  different indices, each of them counts. */
class Firsts {
  readonly #groups = new Map<Leaf, Map<Path | null, { readonly first: Set<Scalar>; readonly scale: Set<Scalar> }>>();
  constructor(readonly combine: BoundNode["combine"]) {}
  add(w: Leaf, p: Path, scale: Scalar, first: Scalar): void {
    const paths = this.#groups.get(w) ?? new Map();
    this.#groups.set(w, paths);
    const key = this.combine === "max" ? p : null;
    const group = paths.get(key) ?? { first: new Set(), scale: new Set() };
    paths.set(key, group);
    group.first.add(first);
    group.scale.add(scale);
  }
  total(by: Scalar): Scalar {
    let sum: Scalar = zero;
    for (const paths of this.#groups.values())
      for (const { first, scale } of paths.values())
        sum = plus(
          sum,
          times(
            [...scale].reduce((a, b) => call("max", a, b)),
            [...first].reduce(plus),
          ),
        );
    return times(by, sum);
  }
}
