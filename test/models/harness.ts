// Runs an optimizer on given gradients: a session on a device, weights written and read as flat arrays, one compiled step.
import { isLeft } from "fp-ts/lib/Either.js";
import { constant, input, leavesOf, mapTree, type Optimizer, type Rates, type Scalar, type Tree } from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { openSession } from "../../runtime/program.js";
import type { Session } from "../../runtime/session.js";
import { restart, trainingPrograms } from "../../runtime/training.js";

export type Arrays = Readonly<Record<string, readonly number[]>>;
export interface Stepper {
  /** One step: the weights after it. */
  step(gradients: Arrays, lr: number, t: number): Promise<Arrays>;
  [Symbol.dispose](): void;
}
export async function open(device: DeviceName): Promise<Session> {
  const s = await openSession(device, { threads: 1 });
  if (isLeft(s)) throw s.left;
  return s.right;
}
/** Gradients are inputs, so the loss does not matter. Rates are given beside, as transformations give them. */
export async function stepper(device: DeviceName, params: Tree, optimizer: Optimizer, weights: Arrays, rates?: Rates): Promise<Stepper> {
  const paths = leavesOf(params).map((l) => l.path);
  const gradient = mapTree(params, (w) => input(w.axes));
  const given = leavesOf(gradient).map((l) => l.tensor);
  const [lr, t] = [input({}), input({})];
  const faster: Optimizer = rates ? { ...optimizer, update: (x) => optimizer.update({ ...x, rates }) } : optimizer;
  const programs = trainingPrograms({
    name: "optimizer",
    params,
    inputs: handle<Readonly<Record<string, Leaf>>>({ lr, t, ...Object.fromEntries(given.map((g, i) => [`g${i}`, g])) }),
    loss: nodeOf(constant(0) as Scalar, "loss"),
    gradient,
    optimizer: faster,
    lr: nodeOf(lr, "lr"),
    t: nodeOf(t, "t"),
  });
  const session = await open(device);
  await session.hold(programs.params);
  for (const p of programs.params) await session.write(p.name, weights[p.name] as readonly number[]);
  const program = await restart(session, programs);
  return {
    step: async (gradients, rate, number) => {
      await program.run({ lr: [rate], t: [number], ...Object.fromEntries(paths.map((p, i) => [`g${i}`, gradients[p] as readonly number[]])) });
      return Object.fromEntries(await Promise.all(paths.map(async (p) => [p, Array.from(await session.read(p))] as const)));
    },
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}
export type Nodes = Readonly<Record<string, Node>>;
/** Numbers of a seed, normal in shape. */
export function generator(seed: number): () => number {
  let s = seed >>> 0;
  const uniform = () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let x = Math.imul(s ^ (s >>> 15), 1 | s);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
