// What a training step can be asked to say of itself: how far it can move the attention logits at most (docs/quack.md,
// "Certificate and budget"), by layer and head, for inputs as long as those of the probe batch.
//
//   certificate        from the steps that the optimizer states, δ = rate·(D + λ‖W‖) with decoupled decay λ; spectral
//   certificateActual  from the changes that the step made; spectral
//   budget             what QuacK allows, in its own norm; decay is left out, as in its lemma
//
// They are further outputs of the step, in a program of its own, so that other steps do not pay for them.
import { constant, leaf as makeLeaf } from "../../dsl/build.js";
import {
  deriveRates,
  find,
  inputNorms,
  logitBudget,
  logitCertificate,
  map,
  norm,
  type Rates,
  type Scalar,
  stepsOf,
  sub,
  type Tensor,
} from "../../dsl/index.js";
import type { Leaf, Node, RateNode } from "../../dsl/node.js";
import { paramsBelow } from "../../dsl/rates.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { flatten } from "../../dsl/tree.js";
import type { StepParts } from "../training.js";

export interface BoundSettings {
  /** What the rates of weights below the logits are multiplied by, beside QuacK's factors: τ, or 1. */
  readonly tau: number;
  /** λ of the matrices' decoupled decay. */
  readonly decay: number;
  /** Weights move beside the optimizer's step (QK clip): no certificate holds before it is done. */
  readonly rescaled: boolean;
}
export const BOUNDS = ["certificate", "certificateActual", "budget"] as const;
/** Each row-major [layer, head], as far as the optimizer has it. */
export type Bounds = { readonly [K in (typeof BOUNDS)[number]]?: Float32Array };

const logitsOf = (of: Node) => find(handle(of), "logits");
/** The norms of the attentions' inputs, one output for each of the logits. */
export const inputNormsOf = (of: Node): readonly Node[] => inputNorms(logitsOf(of)).map(({ value }) => nodeOf(value, "inputNorms"));
/** Leaves to hand them to the step by. */
export const normLeaves = (of: Node): readonly Leaf[] => inputNormsOf(of).map((n, i) => makeLeaf("input", `norms${i}`, n.axes, "f32"));

/** Outputs of a step: `certificate0`, …, one for each of the logits. */
export function stepBounds(step: StepParts, s: BoundSettings, norms: readonly Leaf[]): Readonly<Record<string, Node>> {
  const logits = logitsOf(step.loss);
  const inputs = norms.map((l) => handle<Tensor>(l));
  const weights = new Map(flatten(step.params).map((l) => [l.path, l.node]));
  const moved = new Map(flatten(step.next).map((l) => [l.path, l.node]));
  const below = [...new Set(logits.flatMap(({ value }) => paramsBelow(nodeOf(value, "the logits"))))];
  const first = step.state.flatMap(({ leaf, first }) => (first.op === "rate" ? [{ leaf, rate: first }] : []));
  const [quacked] = first;
  const rule: Pick<RateNode, "norm" | "combine" | "floor"> = quacked?.rate ?? { norm: "spectral", combine: "max", floor: 0 };
  const rates = deriveRates(logits, { norm: rule.norm, combine: rule.combine, floor: rule.floor });
  const f0: Rates = Object.fromEntries(first.map(({ leaf, rate }) => [(rate.args[0] as Leaf).name, handle<Tensor>(leaf)]));
  const others = below.filter((w) => !(w.name in rates)).map((w) => w.name);
  const one: Rates = Object.fromEntries(others.map((path) => [path, handle<Tensor>(constant(1))]));
  const lr = handle<Scalar>(step.lr);
  const params = handle<Parameters<typeof stepsOf>[1]>(step.params);
  const out: Record<string, Node> = {};
  const put = (name: (typeof BOUNDS)[number], values: ReturnType<typeof logitCertificate>) =>
    values.forEach(({ value }, i) => {
      out[`${name}${i}`] = nodeOf(value, name);
    });

  if (!s.rescaled) {
    const D = stepsOf(step.optimizer, params, { ...rates, ...one }, "spectral");
    const delta: Rates = Object.fromEntries(
      Object.entries(D).map(([path, D]) => {
        const rate =
          rates[path] && f0[path]
            ? map({ f: rates[path], f0: f0[path], tau: s.tau }, ({ f, f0, tau }) => (tau * f) / f0)
            : constant(rates[path] ? s.tau : 1);
        const w = weights.get(path) as Node;
        const size = s.decay === 0 || !rates[path] ? handle<Scalar>(constant(0)) : slices(w, nodeOf(rates[path], path));
        return [
          path,
          handle<Tensor>(
            map({ lr, rate: handle<Tensor>(rate), D, size, decay: s.decay }, ({ lr, rate, D, size, decay }) => lr * rate * (D + decay * size)),
          ),
        ];
      }),
    );
    put("certificate", logitCertificate(logits, delta, { norm: "spectral", inputs }));
  }
  const changes: Rates = Object.fromEntries(
    below.map(({ name }) => [name, handle<Tensor>(sub(handle<Tensor>(moved.get(name)), handle<Tensor<never>>(weights.get(name))))]),
  );
  put("certificateActual", logitCertificate(logits, changes, { norm: "spectral", inputs, of: "changes" }));
  if (quacked && !s.rescaled) {
    const steps = stepsOf(step.optimizer, params, { ...rates, ...one }, rule.norm);
    const beside: Rates = Object.fromEntries(others.map((path) => [path, map({ lr, D: steps[path] as Tensor }, ({ lr, D }) => lr * D)]));
    const rate = map({ lr, tau: s.tau }, ({ lr, tau }) => lr * tau);
    put("budget", logitBudget(logits, { f0, steps, rate, others: beside }, { ...rule, inputs }));
  }
  return out;
}
/** Euclidean norms of a weight's slices, by the axes of its rate. */
function slices(w: Node, rate: Node): Tensor {
  const over = Object.keys(w.axes).filter((a) => !(a in rate.axes));
  const [first, ...rest] = over as [string, ...string[]]; // a matrix has more axes than its rate
  return handle(norm(handle<Tensor>(w), first, ...rest));
}

/** The step's outputs, back. */
export function readBounds(out: Readonly<Record<string, ArrayLike<number>>>): Bounds {
  const all = BOUNDS.flatMap((name) => {
    const parts = Object.keys(out).filter((k) => k.startsWith(name) && /^\d+$/.test(k.slice(name.length)));
    return parts.length === 0 ? [] : [[name, Float32Array.from(parts.flatMap((k) => Array.from(out[k] as ArrayLike<number>)))] as const];
  });
  return Object.fromEntries(all);
}
