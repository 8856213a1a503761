// A training step as one program: loss, gradient, update and metrics, over state that a session keeps. The optimizer's
// state becomes leaves of the session, whose first values a second program computes from the initial weights.
import { grad as gradNode, leaf as makeLeaf } from "../dsl/build.js";
import type { Optimizer, Tree } from "../dsl/index.js";
import type { Leaf, Node } from "../dsl/node.js";
import { handle } from "../dsl/tensor.js";
import { flatten, mapLeaves, rebuild } from "../dsl/tree.js";
import type { ProgramSpec, Session, SessionProgram } from "./session.js";

export interface TrainingSpec {
  readonly name: string;
  /** The model's tree of parameter leaves. */
  readonly params: unknown;
  readonly inputs: Readonly<Record<string, Leaf>>;
  readonly loss: Node;
  /** The gradient of the loss by default; accumulation gives its own. */
  readonly gradient?: unknown;
  readonly optimizer: Optimizer;
  /** Rate and number of the step (from 1): scalars. */
  readonly lr: Node;
  readonly t: Node;
  /** Further outputs of the step. */
  readonly metrics?: (x: StepParts) => Readonly<Record<string, Node>>;
  /** State beside the optimizer's, such as a step counter. */
  readonly updates?: readonly { readonly leaf: Leaf; readonly value: Node }[];
}
/** What a step is made of. */
export interface StepParts extends Pick<TrainingSpec, "params" | "loss" | "optimizer" | "lr" | "t"> {
  readonly gradient: unknown;
  /** The tree of weights after the step. */
  readonly next: unknown;
  /** The optimizer's state before it, and what that began with. */
  readonly state: readonly { readonly leaf: Leaf; readonly first: Node }[];
}
export interface TrainingPrograms {
  readonly params: readonly Leaf[];
  readonly state: readonly Leaf[];
  /** Computes the optimizer's first state. */
  readonly start: ProgramSpec;
  readonly step: ProgramSpec;
}

export const leavesOf = (tree: unknown): readonly Leaf[] => flatten(tree).flatMap(({ node }) => (node.op === "leaf" ? [node] : []));

export function trainingPrograms(t: TrainingSpec): TrainingPrograms {
  const w = t.params;
  const gradient = t.gradient ?? mapLeaves(w, (n) => gradNode(t.loss, n));
  const first = t.optimizer.init(handle({ w, loss: t.loss }));
  const values = flatten(first);
  const state = values.map(({ path, node }) => makeLeaf("state", path === "" ? "optimizer" : `optimizer.${path}`, node.axes, node.dtype));
  const next = t.optimizer.update<Tree>(handle({ w, g: gradient, s: rebuild(first, state), loss: t.loss, lr: t.lr, t: t.t }));
  const params = leavesOf(w);
  const moved = flatten(next.w).map((l) => l.node);
  const changed = flatten(next.s).map((l) => l.node);
  const parts: StepParts = { ...t, gradient, next: next.w, state: state.map((leaf, i) => ({ leaf, first: (values[i] as { node: Node }).node })) };
  const outputs = { loss: t.loss, ...(t.metrics?.(parts) ?? {}) };
  return {
    params,
    state,
    start: {
      name: `${t.name}_start`,
      inputs: {},
      outputs: {},
      updates: state.map((leaf, i) => ({ leaf, value: (values[i] as { node: Node }).node })),
    },
    step: {
      name: t.name,
      inputs: t.inputs,
      outputs,
      updates: [
        ...params.map((leaf, i) => ({ leaf, value: moved[i] as Node })),
        ...state.map((leaf, i) => ({ leaf, value: changed[i] as Node })),
        ...(t.updates ?? []),
      ],
    },
  };
}

/** Sets the weights to their initial values and the optimizer's state to what follows from them. */
export async function startTraining(session: Session, p: TrainingPrograms, seed: number): Promise<SessionProgram> {
  await session.initialise(p.params, seed);
  return restart(session, p);
}
/** The optimizer's first state for the weights that the session holds. */
export async function restart(session: Session, p: TrainingPrograms): Promise<SessionProgram> {
  await session.hold(p.state);
  if (p.state.length > 0) {
    const start = await session.program(p.start);
    await start.run({});
    start[Symbol.dispose]();
  }
  return session.program(p.step);
}
