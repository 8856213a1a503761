// The programs of a trial: what is evaluated, one after the other, for a number of cases at once.
//
//   frozen    what the models that labelled the logits were given, from the inputs
//   gradient  one logit a case, and its gradient by weight
//   updates   by weight: the step that the optimizer makes of given gradients, and the weight afterwards
//   bounds    by label: the logits' change, the certificate and the budget, each with the logits' axes
//
// The optimizer's state begins at the weights `start`; one update is made at `before`, whose state alone is kept, and one
// at `now`.
import { isLeft } from "fp-ts/lib/Either.js";
import { changesOf } from "../../compiler/graph/change.js";
import { type Graph, runGraphPasses } from "../../compiler/pipeline.js";
import { logitBudget, logitCertificate } from "../../dsl/bound.js";
import * as build from "../../dsl/build.js";
import { add, broadcast, lift, ordered, sumOver, zeros } from "../../dsl/derivative/terms.js";
import { constant, deriveRates, grad, type Optimizer, type Rates, type Scalar, type Tree } from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { arg, call } from "../../dsl/scalar.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { mapLeaves } from "../../dsl/tree.js";
import { CompileError } from "../backend.js";
import {
  type Applied,
  applied,
  batched,
  CASE,
  frozen,
  inputLeaves,
  type LogitModel,
  type ModelInput,
  type Weights,
  weightsOf,
} from "./logit-model.js";
import { stepOf } from "./logit-steps.js";
import type { Slices } from "./slices.js";

/** An optimizer, whatever its state is. */
export interface AnyOptimizer {
  readonly init: (x: never) => unknown;
  readonly update: (x: never) => { readonly w: unknown; readonly s: unknown };
  readonly stepBound?: Optimizer["stepBound"];
}
export interface LogitOptions {
  readonly optimizer: AnyOptimizer;
  /** The factor τ, and the rate η of the step that is measured. */
  readonly tau: number;
  readonly eta: number;
  readonly norm?: "frobenius" | "spectral";
  readonly combine?: "max" | "sum";
  readonly floor?: number;
  /** Extents of axes that only inputs have, such as time: 2 unless given. */
  readonly sizes?: Readonly<Record<string, number>>;
}
/** A weight below the logits. */
export interface LogitWeight {
  readonly path: string;
  readonly axes: Readonly<Record<string, number>>;
  /** Axes by which its rate differs. */
  readonly apart: readonly string[];
  readonly slices: Slices;
  /** false: a gain or a table, which keeps η. */
  readonly rated: boolean;
}
/** What the programs are of. */
export interface Subject {
  readonly model: LogitModel;
  readonly options: LogitOptions;
  readonly weights: readonly LogitWeight[];
  readonly inputs: readonly ModelInput[];
  /** D, by weight. */
  readonly steps: Rates;
}
export const howOf = ({ norm = "frobenius", combine = "max", floor = 0 }: LogitOptions) => ({ norm, combine, floor });

export interface Programs {
  readonly x: Readonly<Record<string, Leaf>>;
  readonly start: Weights;
  readonly before: Weights;
  readonly now: Weights;
  readonly frozen: Graph;
  readonly stands: readonly Leaf[];
  readonly logits: readonly Node[];
  readonly picks: readonly Leaf[];
  readonly gradient: Graph;
  readonly g: readonly Leaf[];
  readonly updates: Graph;
  readonly steps: readonly Leaf[];
  readonly moves: readonly Leaf[];
  readonly bounds: Graph;
  /** Something in the logits changes by a plain difference of two values: their rounding is in it. */
  readonly plain: boolean;
}

export function programsFor(t: Subject, cases: number): Programs {
  const { tau, eta } = t.options;
  const how = howOf(t.options);
  const x = inputLeaves(t.inputs, cases);
  const [start, before, now] = [weightsOf(t.model, cases), weightsOf(t.model, cases), weightsOf(t.model, cases)];
  const [atStart, atBefore, atNow] = [start, before, now].map((w) => applied(t.model, w.tree, x)) as [Applied, Applied, Applied];
  const { logits, stands } = frozen(atNow.labels);
  const standing = [...stands].filter(([leaf, n]) => leaf !== n);

  // Gradients of one logit a case.
  const picks = logits.map((l) => build.leaf("input", "pick", l.axes, "f32"));
  const one = (l: Node, i: number, axes: readonly string[]): Node =>
    sumOver(lift({ l, pick: picks[i] as Leaf }, call("mul", arg("l"), arg("pick"))), axes);
  const axesOf = (l: Node) => Object.keys(l.axes);
  const total = logits.map((l, i) => one(l, i, axesOf(l))).reduce((a, b) => add(a, b));
  const byCase = logits.map((l, i) =>
    one(
      l,
      i,
      axesOf(l).filter((a) => a !== CASE),
    ),
  );
  const own = t.weights.map((w) => now.leaves.get(w.path) as Leaf);
  const gradients = own.map((leaf) => nodeOf(grad(handle<Scalar>(total), handle<Rates[string]>(leaf)), "a gradient"));
  const gradient = expanded([byCase.reduce((a, b) => add(a, b)), ...gradients]);

  // Two updates: the first leaves its state alone behind.
  const g = t.weights.map((w) => batched(`gradient of ${w.path}`, w.axes, cases));
  const gTree = mapLeaves(now.tree, (n, path) => {
    const i = t.weights.findIndex((w) => w.path === path);
    return i < 0 ? zeros(n.axes) : (g[i] as Leaf);
  });
  const optimizer = t.options.optimizer as unknown as Optimizer; // its state goes from its own init to its own update
  const step = (w: unknown, s: Tree, loss: Scalar, t: number) =>
    optimizer.update({ w: handle<Tree>(w), g: handle<Tree>(gTree), s, loss, lr: constant(eta), t: constant(t) });
  const first = step(before.tree, optimizer.init({ w: handle<Tree>(start.tree), loss: atStart.loss }), atBefore.loss, 1);
  const second = step(now.tree, first.s, atNow.loss, 2);
  const next = new Map<string, Node>();
  mapLeaves(second.w, (n, path) => {
    next.set(path, n);
    return n;
  });
  const updates = expanded(
    t.weights.flatMap((w, i) => {
      const after = next.get(w.path) as Node;
      return [stepOf(after, own[i] as Leaf), after].map((n) => ordered(n, (own[i] as Leaf).axes));
    }),
  );

  // Δℓ and the bounds, each with the logits' axes.
  const steps = t.weights.map((w) => batched(`step of ${w.path}`, w.axes, cases));
  const moves = t.weights.map((w) => batched(`move of ${w.path}`, Object.fromEntries(w.apart.map((a) => [a, w.axes[a] as number])), cases));
  const read = expanded(logits, "read");
  let plain = false;
  const changes = changesOf(read.roots, new Map(own.map((leaf, i) => [leaf, steps[i] as Leaf])), () => {
    plain = true;
  });
  const bound = { norm: how.norm, inputs: standing.length === 0 ? 1 : ("measured" as const) };
  const given = (of: readonly LogitWeight[]): Rates => handle(Object.fromEntries(of.map((w) => [w.path, moves[t.weights.indexOf(w)]])));
  const certificate = logitCertificate(atNow.logits, given(t.weights), bound);
  const others = given(t.weights.filter((w) => !w.rated));
  const f0 = deriveRates(atStart.logits, how);
  const budget = logitBudget(atNow.logits, { f0, steps: t.steps, rate: tau * eta, others }, { ...how, ...bound });
  const like = (n: Node, l: Node) => ordered(broadcast(n, l.axes), l.axes);
  const bounds = expanded(
    logits.flatMap((l, i) => [
      changes[i] ?? zeros(l.axes),
      like(nodeOf(certificate[i]?.value, "the certificate"), l),
      like(nodeOf(budget[i]?.value, "the budget"), l),
    ]),
  );
  return {
    x,
    start,
    before,
    now,
    frozen: expanded(standing.map(([, n]) => n)),
    stands: standing.map(([leaf]) => leaf),
    logits,
    picks,
    gradient,
    g,
    updates,
    steps,
    moves,
    plain,
    bounds,
  };
}

export function expanded(roots: readonly Node[], last: "read" | "grad" = "grad"): Graph {
  const graph = runGraphPasses(roots, { last });
  if (isLeft(graph)) throw new CompileError(graph.left);
  return graph.right;
}
