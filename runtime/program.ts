// compile: an expression as something that runs. The result tree has arrays for tensors and numbers for scalars.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { showPlan } from "../compiler/lower/show.js";
import { ArgumentError } from "../dsl/errors.js";
import type { AnyTensor, Tree } from "../dsl/index.js";
import type { Leaf } from "../dsl/node.js";
import { isNode } from "../dsl/tensor.js";
import { flatten } from "../dsl/tree.js";
import type { HostArray } from "./device.js";
import { type DeviceName, type DeviceOptions, devices } from "./devices/index.js";
import { DeviceError } from "./errors.js";
import type { Kernel } from "./kernels.js";
import { Session } from "./session.js";

/** Results by the shape of the compiled tree: a number for a scalar, else an array, row-major in the axis order of the
 *  expression. */
export type Results<O> = O extends { readonly axes: infer A; readonly dtype: unknown }
  ? keyof A extends never
    ? number
    : HostArray
  : { readonly [K in keyof O]: Results<O[K]> };
export type Arrays<I> = { readonly [K in keyof I]: ArrayLike<number> };

export interface Program<I, O> {
  /** One run. Arrays are row-major in the input's axis order; run-time extents are read off their lengths, or given by
   *  axis name in `extents`. */
  run(x: Arrays<I>, extents?: Readonly<Record<string, number>>): Promise<Results<O>>;
  readonly kernels: readonly Kernel[];
  /** Memory, kernels and loops. */
  explain(): string;
  [Symbol.dispose](): void;
}
export interface CompileOptions extends DeviceOptions {
  /** native unless said. */
  readonly device?: DeviceName;
  /** Seed of the initial values of parameters that the expression has. */
  readonly seed?: number;
}

/** A session on a device of this machine; left says why there is none. */
export async function openSession(device: DeviceName = "native", o: DeviceOptions = {}): Promise<Either<DeviceError, Session>> {
  const open = devices[device];
  if (!open) return left(new DeviceError({ kind: "BadOption", option: "device", value: String(device), expected: Object.keys(devices).join(", ") }));
  const backend = await open(o);
  return isLeft(backend) ? backend : right(new Session(backend.right));
}

/** What `make` makes of a given session, or of a new one on a device, which is freed if that fails; `own` says whether it is
 *  new. Throws what is wrong with the device (DeviceError). */
export async function inSession<T>(
  on: DeviceName | Session | undefined,
  o: DeviceOptions,
  make: (session: Session, own: boolean) => Promise<T>,
): Promise<T> {
  if (on instanceof Session) return make(on, false);
  const opened = await openSession(on, o);
  if (isLeft(opened)) throw opened.left;
  try {
    return await make(opened.right, true);
  } catch (e) {
    opened.right[Symbol.dispose]();
    throw e;
  }
}

/** Compiles `out` as a function of `inputs` on a session of its own, which the program's disposal frees. Parameters
 *  have their initial values. Throws what is wrong with the expression (CompileError) or the device (DeviceError). */
export async function compile<const I extends { readonly [name: string]: AnyTensor }, O extends Tree>(
  inputs: I,
  out: O,
  o: CompileOptions = {},
): Promise<Program<I, O>> {
  return inSession(o.device, o, (session, own) => compileIn(session, inputs, out, { seed: o.seed ?? 0, own }));
}

/** The same on a given session, sharing its state. */
export async function compileIn<const I extends { readonly [name: string]: AnyTensor }, O extends Tree>(
  session: Session,
  inputs: I,
  out: O,
  o: { readonly seed?: number; readonly own?: boolean; readonly name?: string } = {},
): Promise<Program<I, O>> {
  const leaves = inputLeaves(inputs);
  const found = flatten(out);
  const names = found.map(({ path }) => path || "out");
  const known = new Set(session.paths);
  const program = await session.program({
    name: o.name ?? "program",
    inputs: leaves,
    outputs: Object.fromEntries(found.map(({ node }, i) => [names[i] as string, node])),
  });
  if (o.seed !== undefined)
    await session.initialise(
      program.compiled.state.filter((l) => l.role === "param" && !known.has(l.name)),
      o.seed,
    );
  const run = async (x: Readonly<Record<string, ArrayLike<number>>>, extents?: Readonly<Record<string, number>>): Promise<unknown> => {
    const values = await program.run(x, extents);
    let next = 0;
    return mapValues(out, () => values[names[next++] as string] as HostArray); // in the order of flatten
  };
  return {
    run: run as Program<I, O>["run"], // what stands at each leaf is what Results says
    get kernels() {
      return program.kernels;
    },
    explain: () => (program.plan ? showPlan(program.plan) : "the js device evaluates the expression as it stands: it has no kernels"),
    [Symbol.dispose]: () => (o.own ? session[Symbol.dispose]() : program[Symbol.dispose]()),
  };
}

/** The leaves behind a record of inputs. */
export function inputLeaves(inputs: Readonly<Record<string, unknown>>): Readonly<Record<string, Leaf>> {
  const out: Record<string, Leaf> = {};
  for (const [name, x] of Object.entries(inputs)) {
    if (!isNode(x) || x.op !== "leaf" || x.role !== "input")
      throw new ArgumentError(
        `compile: "${name}" is no input`,
        "inputs are what input({ … }) makes; what is computed from them belongs to the outputs",
      );
    out[name] = x;
  }
  return out;
}

function mapValues(tree: unknown, value: () => HostArray): unknown {
  if (isNode(tree)) {
    const v = value();
    return Object.keys(tree.axes).length === 0 ? v[0] : v;
  }
  if (Array.isArray(tree)) return "stacked" in tree ? mapValues(tree.stacked, value) : tree.map((t) => mapValues(t, value));
  return Object.fromEntries(Object.entries(tree as object).map(([k, t]) => [k, mapValues(t, value)]));
}
