// A model with labelled logits, many cases of it at once: every weight and input has one axis more, over which the model
// and the rules lift, so that thousands of small cases cost one evaluation. The logits are taken as functions of what the
// model that labelled them was given: a normalisation before it is frozen, as the bounds hold its inputs fixed.
import { rebuild } from "../../compiler/graph/walk.js";
import * as build from "../../dsl/build.js";
import { ArgumentError } from "../../dsl/errors.js";
import { read as specs } from "../../dsl/formula.js";
import { type Axes, add, find, type Scalar, sum, type Tensor, type Tree } from "../../dsl/index.js";
import type { LabelNode, Leaf, Node, Shape } from "../../dsl/node.js";
import { handle, isNode } from "../../dsl/tensor.js";
import { flatten, mapLeaves } from "../../dsl/tree.js";

/** What `model(…)` makes, whatever its parts and inputs are. */
export interface LogitModel {
  readonly params: unknown;
  readonly inputs: unknown;
  readonly apply: (w: never, x: never) => unknown;
}
/** The axis that tells cases. */
export const CASE = "$case";
/** The extent of an input's axis that no weight has and that is not given. */
const USUAL = 2;

export interface ModelInput {
  readonly name: string;
  readonly axes: Readonly<Record<string, number>>;
  /** Axes that weights contract: a position's vector runs over them. */
  readonly features: readonly string[];
}
/** The inputs' axes: as large as the weights say, as given, or 2. */
export function inputsOf(model: LogitModel, sizes: Readonly<Record<string, number>>): readonly ModelInput[] {
  const ofWeights: Record<string, number> = {};
  for (const { node } of flatten(model.params)) Object.assign(ofWeights, node.axes);
  return Object.entries(specs("the model", model.inputs)).map(([name, { axes, dtype }]) => {
    if (dtype !== undefined)
      throw new ArgumentError(
        `the model's input "${name}" is ${dtype}`,
        "bounds on logits take the attention model by itself: one whose inputs are vectors",
      );
    return {
      name,
      axes: Object.fromEntries(axes.map((a) => [a, ofWeights[a] ?? sizes[a] ?? USUAL])),
      features: axes.filter((a) => a in ofWeights),
    };
  });
}

/** One version of the weights, for `cases` cases. */
export interface Weights {
  readonly tree: unknown;
  readonly leaves: ReadonlyMap<string, Leaf>;
}
export function weightsOf(model: LogitModel, cases: number): Weights {
  const leaves = new Map<string, Leaf>();
  const tree = mapLeaves(model.params, (n, path) => {
    if (n.op !== "leaf" || !n.param)
      throw new ArgumentError(`the model's parameter "${path}" is no weight of its own`, "give the model as model(…) made it");
    const param = { ...n.param, stacked: [CASE, ...n.param.stacked] };
    const made = build.leaf("param", n.name, { [CASE]: cases, ...n.axes }, "f32", param);
    leaves.set(path, made);
    return made;
  });
  return { tree, leaves };
}
export const batched = (name: string, axes: Shape, cases: number): Leaf => build.leaf("input", name, { [CASE]: cases, ...axes }, "f32");

export const inputLeaves = (inputs: readonly ModelInput[], cases: number): Readonly<Record<string, Leaf>> =>
  Object.fromEntries(inputs.map(({ name, axes }) => [name, batched(name, axes, cases)]));

export interface Applied {
  /** The sum of all outputs: what an optimizer is given as its loss, to find labels in. */
  readonly loss: Scalar;
  readonly labels: readonly LabelNode[];
  /** As `find` gives them. */
  readonly logits: readonly { readonly path: string; readonly value: Tensor<Axes, "f32"> }[];
}
export function applied(model: LogitModel, w: unknown, x: Readonly<Record<string, Node>>): Applied {
  const out = model.apply(handle(w), handle(x));
  const loss = flatten(out)
    .map(({ node }): Scalar => {
      const y: Tensor<Axes, "f32"> = handle(node);
      return sum(y, ...(Object.keys(node.axes) as [string, ...string[]])); // CASE at least
    })
    .reduce((a, b) => add(a, b));
  const logits = find(out as Tree, "logits");
  const labels = logits.map(({ path, value }) => {
    const n: unknown = value;
    if (isNode(n) && n.op === "label") return n;
    throw new ArgumentError(
      `the logits of "${path}" are computed in a loop over layers`,
      "every layer has the same bound: give the attention of one layer, such as mha(config), not the whole decoder",
    );
  });
  return { loss, labels, logits };
}

/** The labelled values as functions of the leaves that stand for their models' inputs: those leaves with what they
 *  stand for. An input that is a leaf stands for itself. */
export function frozen(labels: readonly LabelNode[]): {
  readonly logits: readonly Node[];
  readonly stands: ReadonlyMap<Leaf, Node>;
} {
  const leaves = new Map<Node, Leaf>();
  for (const l of labels)
    for (const x of l.inputs)
      if (!leaves.has(x)) leaves.set(x, x.op === "leaf" && x.role === "input" ? x : build.leaf("input", `input ${leaves.size}`, x.axes, x.dtype));
  const { roots } = rebuild(
    labels.map((l) => l.args[0]),
    (n) => n,
    (n) => leaves.get(n),
  );
  return { logits: roots, stands: new Map([...leaves].map(([n, leaf]) => [leaf, n])) };
}
