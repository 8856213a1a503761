// What must stay finite in training: the loss, the rate, every weight's gradient, and every factor that a weight's rate is
// multiplied by. A step is watched through outputs of its own program: the squares of each weight's gradient, summed layer
// by layer, from which the norm of the whole gradient comes too, and the factors, a number a head. When one is not
// finite, the weight that it belongs to is known, without any earlier state having been kept.
//
// Before the first step the optimizer's state is read where it was computed from the weights: a factor that begins at
// infinity has a partner that is zero, and its weight would never move.
import { order } from "../compiler/graph/walk.js";
import { maxOf } from "../compiler/lower/expr.js";
import { grad as gradNode } from "../dsl/build.js";
import { MallardError, RuleError } from "../dsl/errors.js";
import { map, sum, type Tensor } from "../dsl/index.js";
import type { Leaf, Node } from "../dsl/node.js";
import { placesOf } from "../dsl/places.js";
import { handle, nodeOf } from "../dsl/tensor.js";
import { flatten } from "../dsl/tree.js";
import type { HostArray } from "./device.js";
import type { Session } from "./session.js";
import { leavesOf, type TrainingPrograms, type TrainingSpec, trainingPrograms } from "./training.js";

/** What was not finite, in words. `weight`: its path, the layer in place of `*`; null where no weight is at fault. */
export interface NotFinite {
  readonly what: string;
  readonly weight: string | null;
}
/** A step whose loss, rate or gradient is not finite. The weights that it left are of no use; those saved before it are. */
export class DivergedError extends MallardError {
  override readonly name = "DivergedError";
  constructor(
    /** From 1. */
    readonly step: number,
    readonly fault: NotFinite,
    hint: string,
  ) {
    super(`training diverged at step ${step}: ${fault.what}`, hint, { place: null });
  }
  get weight(): string | null {
    return this.fault.weight;
  }
}

type Outputs = Readonly<Record<string, HostArray>>;
/** What a step says of itself. */
export interface Reading {
  /** Norms of the gradients, by weight and layer. */
  readonly gradients: readonly { readonly weight: string; readonly norm: number }[];
  /** Of the whole gradient. */
  readonly gradNorm: number;
  /** The first thing found not finite, what explains the others first: rate, loss, factors, gradients. */
  readonly fault: NotFinite | null;
}
export interface Watched {
  readonly programs: TrainingPrograms;
  /** `out`: of the step, which took this rate. */
  read(out: Outputs, lr: number): Reading;
}

interface Seen {
  readonly output: string;
  readonly leaf: Leaf;
  readonly node: Node;
}
/** The training programs with what is watched among the outputs of the step. */
export function watched(spec: TrainingSpec): Watched {
  const programs = trainingPrograms(spec);
  const gradients = leavesOf(spec.params).map((leaf, i): Seen => {
    const own = spec.gradient === undefined ? gradNode(spec.loss, leaf) : (flatten(spec.gradient)[i]?.node as Node); // the params' own tree
    return { output: `gradient${i}`, leaf, node: squares(own, leaf) };
  });
  const below = order(programs.step.updates?.map((u) => u.value) ?? []);
  const factors = below.flatMap((n, i): Seen[] => (n.op === "rate" ? [{ output: `factor${i}`, leaf: n.args[0] as Leaf, node: n }] : [])); // a weight
  const outputs = Object.fromEntries([...gradients, ...factors].map((s) => [s.output, s.node]));
  return {
    programs: { ...programs, step: { ...programs.step, outputs: { ...programs.step.outputs, ...outputs } } },
    read: (out, lr) => {
      const norms = gradients.flatMap(({ output, leaf, node }) =>
        Array.from(out[output] ?? [], (square, at) => ({ weight: named(leaf, node, at).weight, norm: Math.sqrt(square) })),
      );
      const loss = out.loss?.[0] ?? Number.NaN;
      return { gradients: norms, gradNorm: Math.hypot(...norms.map((n) => n.norm)), fault: faultOf(loss, lr, norms, factors, out) };
    },
  };
}
/** Σ g² over all axes but the layers'. */
function squares(g: Node, leaf: Leaf): Node {
  const square = map(handle<Tensor>(g), (x) => x * x);
  const [first, ...rest] = Object.keys(g.axes).filter((a) => !leaf.param?.stacked.includes(a));
  return nodeOf(first === undefined ? square : sum(square, first, ...rest), "the squares of a gradient");
}

function faultOf(loss: number, lr: number, gradients: Reading["gradients"], factors: readonly Seen[], out: Outputs): NotFinite | null {
  if (!Number.isFinite(lr)) return { what: `the rate is ${lr}`, weight: null };
  const wrong = gradients.filter((g) => !Number.isFinite(g.norm));
  const last = wrong.at(-1); // the last in the model's order is the nearest to where the backward pass met it
  if (!Number.isFinite(loss)) return { what: `the loss is ${loss}`, weight: wrong.length < gradients.length ? (last?.weight ?? null) : null };
  for (const { output, leaf, node } of factors) {
    const values = out[output] ?? [];
    for (let at = 0; at < values.length; at++) {
      if (Number.isFinite(values[at])) continue;
      const { weight, text } = named(leaf, node, at);
      return { what: `the rate of ${text} is not finite: the factor that it is multiplied by is ${values[at]}`, weight };
    }
  }
  if (!last) return null;
  const more = wrong.length === 1 ? "" : `, and so do those of ${wrong.length - 1} weights below it`;
  return { what: `the gradient of ${last.weight} has the norm ${last.norm}${more}`, weight: last.weight };
}

/** By axis, the index of element `at` of a row-major array. */
function indexOf(axes: Node["axes"], at: number): ReadonlyMap<string, number> {
  const out: (readonly [string, number])[] = [];
  let rest = at;
  for (const [axis, extent] of Object.entries(axes).reverse()) {
    out.push([axis, rest % maxOf(extent)]);
    rest = Math.floor(rest / maxOf(extent));
  }
  return new Map(out.reverse());
}
/** The weight that element `at` of a node belongs to: the layer stands in its path, other axes follow in `text`. */
function named(leaf: Leaf, node: Node, at: number): { readonly weight: string; readonly text: string } {
  const index = new Map(indexOf(node.axes, at));
  let weight = leaf.name;
  for (const axis of leaf.param?.stacked ?? []) {
    const layer = index.get(axis);
    if (layer !== undefined) weight = weight.replace(`${axis}.*`, `${axis}.${layer}`);
    index.delete(axis);
  }
  return { weight, text: [weight, ...[...index].map(([axis, i]) => `${axis} ${i}`)].join(", ") };
}

// ── before the first step ────────────────────────────────────────────────────────────────────────────
/** Throws where a state that was computed from the weights begins at what no step can use: a factor that is not finite,
 *  or zero. To be called when the session holds the first state. */
export async function checkStart(session: Session, programs: TrainingPrograms): Promise<void> {
  const states = (programs.start.updates ?? []).map(({ leaf, value }) => {
    const below = order([value]);
    return { leaf, computed: below.some(isWeight), rates: below.filter((n) => n.op === "rate") };
  });
  const rates = states.flatMap((s) => s.rates);
  for (const { leaf: state, computed, rates: own } of states) {
    if (!computed) continue;
    const first = await session.read(state.name);
    const at = Array.from(first).findIndex((x) => !Number.isFinite(x) || (own.length > 0 && x === 0));
    if (at < 0) continue;
    const [rate] = own;
    if (!rate) throw new RuleError(`the optimizer's state "${state.name}" begins at ${first[at]}`, undefined, { place: null });
    const weight = rate.args[0] as Leaf; // a weight, by deriveRates
    const { text } = named(weight, state, at);
    const partners = rates.filter((r) => r.args[0] !== weight && r.args.slice(1).some((l) => rate.args.includes(l))).map((r) => r.args[0] as Leaf);
    const index = indexOf(state.axes, at);
    const zero: Leaf[] = [];
    for (const l of new Set(partners)) if (isZero(l, index, await session.read(l.name))) zero.push(l);
    const place = placesOf(zero[0] ?? weight)[0];
    const which = zero.map((l) => l.name).join(" and ");
    throw new RuleError(
      `the rate of ${text} cannot be derived: ${zero.length > 0 ? `its partner ${which} begins at zero, and the rate would be zero for ever` : `the factor that it is multiplied by begins at ${first[at]}`}`,
      zero.length > 0
        ? `give ${which} an initial deviation, such as { std: 0.02 }, or QuacK a floor under its norms`
        : "the first weights on its path to the logits are too large, too small or not finite",
      { place: place ?? null },
    );
  }
}
const isWeight = (n: Node): boolean => n.op === "leaf" && n.role === "param";
/** Whether a weight is zero where it meets the given index: everywhere, or in that layer and head. */
const isZero = (l: Leaf, index: ReadonlyMap<string, number>, values: HostArray): boolean =>
  Array.from(values).every((x, at) => x === 0 || [...indexOf(l.axes, at)].some(([axis, i]) => index.has(axis) && index.get(axis) !== i));
