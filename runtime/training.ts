// A training step as one program: loss, gradient, update and metrics, over state that a session keeps. The optimizer's
// state becomes leaves of the session, whose first values a second program computes from the initial weights.
import { cast, grad as gradNode, leaf as makeLeaf } from "../dsl/build.js";
import type { Optimizer, Tree } from "../dsl/index.js";
import type { Leaf, Node } from "../dsl/node.js";
import { handle } from "../dsl/tensor.js";
import { flatten, mapLeaves, rebuild } from "../dsl/tree.js";
import type { HostArray } from "./device.js";
import { FULL, hasMaster, masterOf, type Precision, stateStorage, storedWeight } from "./precision.js";
import { initial, type ProgramSpec, type Session, type SessionProgram } from "./session.js";

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
  /** f32 unless said. `params` are leaves of its storage already (`withStorage`). */
  readonly precision?: Precision;
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
  /** The optimizer's, the masters first. */
  readonly state: readonly Leaf[];
  /** f32 copies, which the optimizer moves, of weights that are stored rounded. */
  readonly masters: readonly { readonly leaf: Leaf; readonly weight: Leaf }[];
  /** Computes the optimizer's first state. */
  readonly start: ProgramSpec;
  readonly step: ProgramSpec;
}

export const leavesOf = (tree: unknown): readonly Leaf[] => flatten(tree).flatMap(({ node }) => (node.op === "leaf" ? [node] : []));

export function trainingPrograms(t: TrainingSpec): TrainingPrograms {
  const precision = t.precision ?? FULL;
  const params = leavesOf(t.params);
  const masters = hasMaster(precision) ? params.map((weight) => ({ leaf: masterOf(weight), weight })) : [];
  /** What the optimizer moves. */
  const w =
    masters.length === 0
      ? t.params
      : rebuild(
          t.params,
          masters.map((m) => m.leaf),
        );
  const gradient = t.gradient ?? mapLeaves(t.params, (n) => gradNode(t.loss, n));
  const first = t.optimizer.init(handle({ w, loss: t.loss }));
  const values = flatten(first);
  const storage = stateStorage(precision, params);
  const state = values.map(({ path, node }) => makeLeaf("state", path === "" ? "optimizer" : `optimizer.${path}`, node.axes, storage(node)));
  const next = t.optimizer.update<Tree>(handle({ w, g: gradient, s: rebuild(first, state), loss: t.loss, lr: t.lr, t: t.t }));
  const moved = flatten(next.w).map((l) => l.node);
  const weights = params.map((leaf, i) => storedWeight(moved[i] as Node, leaf, precision, t.t));
  const changed = flatten(next.s).map((l) => l.node);
  const starts = state.map((leaf, i) => ({ leaf, value: cast((values[i] as { node: Node }).node, leaf.dtype) }));
  const parts: StepParts = {
    ...t,
    gradient,
    next: rebuild(t.params, weights),
    state: state.map((leaf, i) => ({ leaf, first: (values[i] as { node: Node }).node })),
  };
  const outputs = { loss: t.loss, ...(t.metrics?.(parts) ?? {}) };
  const { compute } = precision;
  return {
    params,
    state: [...masters.map((m) => m.leaf), ...state],
    masters,
    start: { name: `${t.name}_start`, inputs: {}, outputs: {}, updates: starts, compute },
    step: {
      name: t.name,
      inputs: t.inputs,
      outputs,
      updates: [
        ...params.map((leaf, i) => ({ leaf, value: weights[i] as Node })),
        ...masters.map(({ leaf }, i) => ({ leaf, value: moved[i] as Node })),
        ...state.map((leaf, i) => ({ leaf, value: cast(changed[i] as Node, leaf.dtype) })),
        ...(t.updates ?? []),
      ],
      compute,
    },
  };
}

/** Sets the weights to their initial values and the optimizer's state to what follows from them. A master has what its weight
 *  is rounded from. */
export async function startTraining(session: Session, p: TrainingPrograms, seed: number): Promise<SessionProgram> {
  await session.initialise(p.params, seed);
  return begin(session, p, async (weight) => initial(weight, seed));
}
/** The optimizer's first state for the weights that the session holds. */
export const restart = (session: Session, p: TrainingPrograms): Promise<SessionProgram> => begin(session, p, (weight) => session.read(weight.name));

async function begin(session: Session, p: TrainingPrograms, valuesOf: (weight: Leaf) => Promise<HostArray>): Promise<SessionProgram> {
  await session.hold([...p.params, ...p.state]);
  for (const { leaf, weight } of p.masters) await session.write(leaf.name, await valuesOf(weight));
  const first = async () => {
    if ((p.start.updates ?? []).length === 0) return;
    const start = await session.program(p.start);
    await start.run({});
    start[Symbol.dispose]();
  };
  const starting = first();
  starting.catch(() => undefined); // taken below
  // By then a C compiler works on it, if there is anything to compile, while the step's kernels are made here.
  await new Promise((go) => setTimeout(go, 0));
  const [step] = await Promise.all([session.program(p.step), starting]);
  return step;
}
