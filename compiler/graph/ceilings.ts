// Norms for certificates: never below the true value. Of a path's weights and of their steps, and of the fixed tensors
// beside them: the inputs of the logits' model (their norm is given, or measured), and what is computed from indices and
// other inputs (measured).
import { at, carry, constant as constantNode, loop as makeLoop, view } from "../../dsl/build.js";
import { indexOf } from "../../dsl/derivative/rule.js";
import { freshAxis, lift, rename, sumOver } from "../../dsl/derivative/terms.js";
import { argsOf, type BoundNode, isMatrix, type Leaf, type Loop, type Node, type Shape } from "../../dsl/node.js";
import { arg, call, constant, index, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { describeNode, GraphError } from "./error.js";
import { flattened, maxOver } from "./norms.js";
import type { Factor } from "./paths.js";
import { rebuild } from "./walk.js";

/** What a bound is asked of, and how. */
export interface Asked {
  /** The public function, for messages. */
  readonly what: string;
  readonly logits: Node;
  readonly norm: BoundNode["norm"];
  /** Axes of the result. */
  readonly kept: Shape;
  readonly owner: ReadonlyMap<Leaf, Loop>;
  /** The inputs that the label names, and what each is outside the label's loops, where that was asked for. */
  readonly inputs: ReadonlySet<Node>;
  readonly measured: ReadonlyMap<Node, Node>;
  /** Spectral norms made before. */
  readonly made: Map<string, Node>;
  /** Their norm, where it is given. */
  readonly size: Node | undefined;
}
const refuse = (n: Node, what: string, hint: string): never => {
  throw new GraphError("rates", what, hint, n);
};
const sqrt = (x: Node): Node => lift({ x }, call("sqrt", arg("x")));
const absolute = (x: Node): Node => lift({ x }, call("abs", arg("x")));
const square = (x: Node): Node => lift({ x }, call("mul", arg("x"), arg("x")));
const product = (a: Node, b: Node): Node => lift({ a, b }, call("mul", arg("a"), arg("b")));
const others = (x: Node, kept: Shape): readonly string[] => Object.keys(x.axes).filter((a) => !(a in kept));

// ── weights and their steps ──────────────────────────────────────────────────────────────────────────
/** Of the weight of a factor, for each index that is not contracted. */
export const normAbove = (f: Factor, c: Asked): Node => norm(f, f.tensor, c);
/** Of the weight's change, given as a tensor of its own axes. */
export const changeAbove = (f: Factor, change: Node, c: Asked): Node =>
  norm(
    f,
    rebuild(
      [f.tensor],
      (n) => n,
      (n) => (n === f.weight ? change : undefined),
    ).roots[0] as Node,
    c,
  );

function norm(f: Factor, w: Node, c: Asked): Node {
  const over = [...f.contracted];
  const matrix = isMatrix(f.weight);
  if (!matrix && f.scales) return maxOver(absolute(w), over);
  if (over.length === 0) return absolute(w);
  const sides = c.norm === "spectral" && matrix ? flattened(f) : null;
  if (!sides) return sqrt(sumOver(square(w), over));
  const key = `${w.id} ${sides.map((side) => side.join()).join("|")}`;
  const known = c.made.get(key) ?? spectralAbove(w, ...sides);
  c.made.set(key, known);
  return known;
}

/** Against rounding: what a spectral norm is made greater by. */
export const slack = 1 + 2 ** -12;
const squarings = 16;
/** σ₁(M) from above. With A = MᵀM on the smaller side, λ₁(A)^m ≤ tr(A^m) ≤ n·λ₁(A)^m; m = 2^squarings. A is kept as
 *  G = A^m / tr(A^m), and u = tr(A^m)^(1/m) follows from t = tr(G²) = Σ G², the square's trace: u ← u·t^(1/2m). The bound
 *  exceeds σ₁ by a factor n^(1/2m) at most; an error of a step enters with weight 1/2m, so that rounding adds few ε. */
function spectralAbove(w: Node, rows: readonly string[], columns: readonly string[]): Node {
  const count = (axes: readonly string[]) => axes.reduce((p, a) => p * Number(w.axes[a]), 1);
  const [small, large] = count(rows) <= count(columns) ? [rows, columns] : [columns, rows];
  const primed = new Map(small.map((a) => [a, freshAxis(a, w.axes)]));
  const middle = new Map(small.map((a) => [a, `${freshAxis(a, w.axes)}_`]));
  const back = new Map(small.map((a) => [primed.get(a) as string, middle.get(a) as string]));
  const gram = sumOver(product(w, rename(w, primed)), large);
  const trace = sumOver(square(w), [...rows, ...columns]);
  const divided = (g: Node, t: Node): Node => lift({ g, t }, call("mul", arg("g"), call("recip0", arg("t"))));
  const l = makeLoop({ axis: "squaring", count: squarings, init: [divided(gram, trace), trace, constantNode(0.5)], xs: [] }, ([g, u, exponent]) => {
    const [G, U, e] = [g, u, exponent] as readonly Node[] as readonly [Node, Node, Node];
    const t = sumOver(square(G), [...small, ...primed.values()]);
    const squared = sumOver(product(rename(G, back), rename(G, middle)), [...middle.values()]);
    return [
      divided(squared, t),
      lift({ U, t, e }, call("mul", arg("U"), call("pow", arg("t"), arg("e")))),
      lift({ e }, call("mul", arg("e"), constant(0.5))),
    ];
  });
  return lift({ u: carry(l, 1) }, call("mul", constant(slack), call("sqrt", arg("u"))));
}

/** δ, given by some of the weight's axes, for each index of the factor that is not contracted. Where the factor sums over
 *  an axis of δ, the slices' changes make one: ‖ΔW‖² ≤ Σ δ². */
export function overIndices(f: Factor, delta: Node, c: Asked): Node {
  const { from, at: index, plain } = sight(f.tensor);
  if (from !== f.weight) throw new Error(`bound: ${f.weight?.name} is not seen through views alone`);
  if (!plain && repeats(f.tensor, [...f.contracted], index) > 1)
    return refuse(
      c.logits,
      `${c.what}: a view reads elements of "${f.weight?.name}" several times`,
      'give the changes themselves: { of: "changes" }',
    );
  const seen = viewed(delta, index, f.tensor.axes);
  const over = [...f.contracted].filter((a) => a in seen.axes);
  return over.length === 0 ? seen : sqrt(sumOver(square(seen), over));
}
function viewed(x: Node, at_: Readonly<Record<string, Scalar>>, axes: Shape): Node {
  const picked = Object.keys(x.axes).filter((a) => at_[a]?.kind === "const");
  const rest =
    picked.length === 0
      ? x
      : at(
          x,
          picked,
          picked.map((a) => constantNode(Number((at_[a] as { value: number }).value), "i32")),
        );
  const reads = Object.keys(rest.axes);
  if (reads.every((a) => at_[a] === index(a))) return rest;
  const own = Object.fromEntries(reads.map((a) => [a, at_[a] as Scalar]));
  const fresh = Object.fromEntries(Object.entries(axes).filter(([a]) => Object.values(own).some((s) => mentions(s, a))));
  return view(rest, fresh, { kind: "scalar", at: own }, reads);
}

// ── fixed tensors ────────────────────────────────────────────────────────────────────────────────────
/** Of a factor without weight, over its contracted axes and as great as it gets over all that the result has not.
 *  `input`: it is computed from the inputs of the logits' model. */
export function fixedNorm(f: Factor, path: readonly Factor[], c: Asked): { readonly norm: Node; readonly input: boolean } {
  const over = [...f.contracted];
  const { from, at: index, plain } = sight(f.tensor);
  if (c.size && c.inputs.has(from)) {
    const reached = new Set([...beside(f, path), ...(plain ? [] : positions(f.tensor, over, index))]);
    const times = extentOf(reached, f.tensor, c) * (plain ? 1 : repeats(f.tensor, over, index));
    return { norm: times === 1 ? c.size : lift({ s: c.size }, call("mul", arg("s"), constant(Math.sqrt(times)))), input: true };
  }
  let input = false;
  const whole = rebuild(
    [f.tensor],
    (n) => n,
    (n) => {
      if (c.inputs.has(n)) {
        input = true;
        return (
          c.measured.get(n) ??
          refuse(
            c.logits,
            `${c.what}: ${describeNode(f.tensor)} is computed from the inputs, so that their norm does not tell its own`,
            'use { inputs: "measured" }',
          )
        );
      }
      if (n.op !== "leaf" || n.role !== "bound") return undefined;
      const l = c.owner.get(n);
      const k = l?.slices.indexOf(n) ?? -1;
      return l && k >= 0
        ? l.xs[k]
        : refuse(
            c.logits,
            `${c.what}: ${describeNode(f.tensor)} depends on the state of a loop`,
            "make it an input of the model whose logits these are",
          );
    },
  ).roots[0] as Node;
  const entries = over.length === 0 || f.scales;
  const norms = entries ? absolute(whole) : sqrt(sumOver(square(whole), over));
  return { norm: maxOver(norms, others(norms, c.kept)), input };
}

// ── what a factor sees of its tensor ─────────────────────────────────────────────────────────────────
interface Sight {
  readonly from: Node;
  /** For each axis of it, the index as a function of the factor's; an axis that an index tensor reads has that tensor's. */
  readonly at: Readonly<Record<string, Scalar>>;
  /** Axes were renamed at most, or one index picked. */
  readonly plain: boolean;
}
/** Through views, picks and whatever leaves values as they are. */
function sight(tensor: Node): Sight {
  let n = tensor;
  let at_: Record<string, Scalar> = Object.fromEntries(Object.keys(n.axes).map((a) => [a, index(a)]));
  for (;;) {
    if (n.op === "view") {
      const of = indexOf(n.index);
      const now = at_;
      const extents = { ...n.axes, ...n.args[0].axes };
      const own = (s: Scalar) =>
        simplify(
          substitute(s, (t) => {
            if (t.kind === "index") return now[t.axis];
            const e = t.kind === "size" ? extents[t.axis] : undefined;
            return typeof e === "number" ? constant(e) : undefined;
          }),
        );
      at_ = Object.fromEntries(Object.keys(n.args[0].axes).map((a) => [a, a in of ? own(of[a] as Scalar) : (now[a] as Scalar)]));
      n = n.args[0];
    } else if (n.op === "at") {
      const [x, ...indices] = n.args;
      const now = at_;
      const read = (i: Node): Scalar =>
        i.op === "constant" ? constant(i.value) : Object.keys(i.axes).reduce<Scalar>((s, a) => call("add", s, now[a] as Scalar), constant(0));
      at_ = Object.fromEntries(
        Object.keys(x.axes).map((a) => [a, n.op === "at" && n.along.includes(a) ? read(indices[n.along.indexOf(a)] as Node) : (now[a] as Scalar)]),
      );
      n = x;
    } else if (n.op === "cast" || n.op === "stop" || n.op === "label") n = argsOf(n)[0] as Node;
    else break;
  }
  const single = Object.values(at_).filter((s) => s.kind !== "const");
  return { from: n, at: at_, plain: single.every((s) => s.kind === "index") && new Set(single).size === single.length };
}
const mentions = (s: Scalar, axis: string): boolean => terms([s]).some((t) => t.kind === "index" && t.axis === axis);

/** Contracted axes along which the tensor's positions lie: those that are found by an index of the factor and an offset, as
 *  in a convolution. */
function positions(tensor: Node, over: readonly string[], at_: Readonly<Record<string, Scalar>>): readonly string[] {
  const reached = new Set<string>();
  for (const s of Object.values(at_))
    if (Object.keys(tensor.axes).some((a) => !over.includes(a) && mentions(s, a))) for (const a of over) if (mentions(s, a)) reached.add(a);
  return [...reached];
}
/** Contracted axes in whose sums no parameter takes part: not features but positions, of keys with values before queries come. */
const beside = (f: Factor, path: readonly Factor[]): readonly string[] =>
  [...f.contracted].filter((a) => !path.some((g) => g.weight !== null && [...g.sums.values()].includes(f.sums.get(a) as number)));
/** The norm over n positions is at most √n times that of one. */
function extentOf(positions: ReadonlySet<string>, tensor: Node, c: Asked): number {
  return [...positions].reduce((p, a) => {
    const n = tensor.axes[a];
    if (typeof n === "number") return p * n;
    return refuse(
      c.logits,
      `${c.what}: the logits sum over "${a}", whose length only a run knows, so that the norm of one position does not tell that of all`,
      'use { inputs: "measured" }, or a fixed size',
    );
  }, 1);
}
const most = 1 << 18;
/** How often the contracted axes read one element at most, the other axes at their ends. */
function repeats(tensor: Node, over: readonly string[], at_: Readonly<Record<string, Scalar>>): number {
  const sizes = over.map((a) => Number(tensor.axes[a]));
  const count = sizes.reduce((p, n) => p * n, 1);
  if (count > most) return count;
  let worst = 1;
  for (const end of [0, 1]) {
    const indices: Record<string, number> = Object.fromEntries(
      Object.entries(tensor.axes).map(([a, e]) => [a, end === 1 && typeof e === "number" ? e - 1 : 0]),
    );
    const seen = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      let rest = i;
      for (const [k, a] of over.entries()) {
        indices[a] = rest % (sizes[k] as number);
        rest = Math.floor(rest / (sizes[k] as number));
      }
      const key = Object.values(at_)
        .map((s) => evalScalar(s, { indices }))
        .join();
      const times = (seen.get(key) ?? 0) + 1;
      seen.set(key, times);
      worst = Math.max(worst, times);
    }
  }
  return worst;
}
