// What a session needs of a device: from a program to something that runs. Compiled devices run all graph passes and
// lower the result to a plan; the f64 oracle stops before simplification and evaluates the graph as the author wrote it.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { showCaptureError } from "../compiler/capture/error.js";
import { GraphError, type PassError } from "../compiler/graph/error.js";
import type { IncrementalError } from "../compiler/graph/incremental.js";
import { type Kept, keep } from "../compiler/graph/kept.js";
import { order } from "../compiler/graph/walk.js";
import { type LowerError, lower, type Program } from "../compiler/lower/lower.js";
import { type Graph, runGraphPasses } from "../compiler/pipeline.js";
import type { Plan } from "../compiler/plan.js";
import { cast, showShape } from "../dsl/build.js";
import { isFloat } from "../dsl/derivative/terms.js";
import { MallardError } from "../dsl/errors.js";
import type { Storage } from "../dsl/model.js";
import { type DType, type Leaf, type Node, UpTo } from "../dsl/node.js";
import { placesOf } from "../dsl/places.js";
import { evaluate } from "../dsl/primitives.js";
import type { Device, DeviceState, Executable, HostArray, StateSpec } from "./device.js";
import { evaluator } from "./devices/js/oracle.js";
import { DeviceError } from "./errors.js";
import { profiled, unmeasured } from "./profile.js";

type Fault = PassError | LowerError | IncrementalError;
/** A program that cannot be compiled: every fault found, each with its place. */
export class CompileError extends MallardError {
  override readonly name = "CompileError";
  constructor(readonly faults: readonly Fault[]) {
    super(faults.map(showFault).join("\n"), undefined, faults.every(isPlaced) ? { place: null } : {});
  }
}
const isPlaced = (f: Fault): boolean =>
  f instanceof GraphError ? f.place !== undefined : f instanceof Error || f.kind === "capture" || placesOf(f.node).length > 0;
function showFault(f: Fault): string {
  if (f instanceof Error) return f.message;
  if (f.kind === "capture") return showCaptureError(f);
  const place = placesOf(f.node)[0];
  return `${f.message}\n  hint: ${f.hint}${place ? `\n  at ${place.file}:${place.line}:${place.column}` : ""}`;
}

export interface Compiled {
  readonly executable: Executable;
  readonly extents: readonly UpTo[];
  /** Everything kept between runs that the program reads or writes. */
  readonly state: readonly Leaf[];
  /** The lowered program; the oracle has none. */
  readonly plan: Plan | undefined;
  /** Values of weights that the program reads in their place and brings up to date as it moves them, and what computes
   *  them from the weights as they are. */
  readonly kept?: { readonly values: readonly Kept[]; readonly refresh: Executable };
}
/** A program, and what its forward pass keeps activations as (compiler/graph/precision.ts). */
export type Given = Program & { readonly compute?: Storage };
export interface Backend {
  readonly name: string;
  readonly threads: number;
  alloc(state: readonly StateSpec[]): Promise<DeviceState>;
  /** `profile`: the program measures its kernels as it runs (profile.ts). */
  compile(program: Given & { readonly profile?: boolean }): Promise<Either<CompileError, Compiled>>;
  [Symbol.dispose](): void;
}

/** The program after the graph passes, and the leaves it keeps between runs. */
export interface Passed {
  readonly program: Program;
  readonly graph: Graph;
  readonly state: readonly Leaf[];
  readonly kept: readonly Kept[];
}
export function passed(given: Given, last?: "grad"): Either<CompileError, Passed> {
  const { compute = "f32", ...whole } = given;
  // State is rounded where it is written, and that is said: the oracle has no memory that would round by itself.
  const p: Program = {
    ...whole,
    updates: whole.updates.map(({ leaf, value }) => ({ leaf, value: isFloat(leaf) && isFloat(value) ? cast(value, leaf.dtype) : value })),
  };
  const names = Object.keys(p.outputs);
  const graph = runGraphPasses([...Object.values(p.outputs), ...p.updates.map((u) => u.value)], last ? { last, compute } : { compute });
  if (isLeft(graph)) return left(new CompileError(graph.left));
  const moved = new Set(p.updates.flatMap((u, i) => (graph.right.roots[names.length + i] === u.leaf ? [] : [u.leaf])));
  const { roots, kept } = last ? { roots: graph.right.roots, kept: [] } : keep(graph.right.roots, [...moved].some(isParam));
  const leaves = leavesBelow(roots);
  const inputs = new Set(Object.values(p.inputs));
  const foreign = leaves.filter((n) => n.role === "input" && !inputs.has(n));
  if (foreign.length > 0) return left(new CompileError(foreign.map(ungiven)));
  const program: Program = {
    ...p,
    outputs: Object.fromEntries(names.map((n, i) => [n, roots[i] as Node])),
    updates: p.updates.map((u, i) => ({ leaf: u.leaf, value: roots[names.length + i] as Node })),
    kept: kept.filter((k) => moved.has(k.weight)),
  };
  const state = leaves.filter((n) => isParam(n) || n.role === "state");
  const all = new Set([...state, ...p.updates.map((u) => u.leaf), ...kept.flatMap((k) => [k.leaf, k.weight])]);
  return right({ program, graph: graph.right, state: [...all], kept });
}
const isParam = (n: Leaf): boolean => n.role === "param";
const ungiven = (n: Leaf): GraphError =>
  new GraphError(
    "read",
    `the outputs depend on an input that is not among the program's inputs: ${n.dtype} ${showShape(n.axes)}`,
    "name it there: compile({ …, x }, { out: … }), with the tensor that input() gave",
    n,
  );
const leavesBelow = (roots: readonly Node[]): readonly Leaf[] => order(roots).filter((n): n is Leaf => n.op === "leaf");

export const compiledBackend = (device: Device, threads: number): Backend => ({
  name: device.name,
  threads,
  alloc: (state) => device.alloc(state),
  compile: async (program) => {
    const p = passed(program);
    if (isLeft(p)) return p;
    const plan = lower(p.right.program, { tiles: device.tiles });
    if (isLeft(plan)) return left(new CompileError([plan.left]));
    const made = program.profile ? profiled(plan.right, device.name, threads) : plan.right;
    const { state, kept: values } = p.right;
    const refresh = values.length > 0 ? lower({ name: `${program.name}_kept`, inputs: {}, outputs: {}, updates: [], kept: values }) : undefined;
    if (refresh && isLeft(refresh)) return left(new CompileError([refresh.left]));
    const [executable, again] = await Promise.all([device.compile(made), refresh && device.compile(refresh.right)]);
    return right({ executable, extents: made.extents, state, plan: made, ...(again ? { kept: { values, refresh: again } } : {}) });
  },
  [Symbol.dispose]: () => device[Symbol.dispose](),
});

// ── the oracle ───────────────────────────────────────────────────────────────────────────────────────
/** Values as a half-width buffer would hold them. All others stay as they are: the oracle's f32 is f64. */
const held = (dtype: DType, data: ArrayLike<number>): Float64Array => {
  const round = dtype === "bf16" ? "toBf16" : dtype === "f16" ? "toF16" : undefined;
  return round ? Float64Array.from(data, (x) => Number(evaluate(round, [x]))) : Float64Array.from(data);
};
class OracleState implements DeviceState {
  readonly arrays = new Map<string, Float64Array>();
  readonly #dtypes = new Map<string, DType>();
  constructor(state: readonly StateSpec[]) {
    this.#add(state);
  }
  #add(state: readonly StateSpec[]): void {
    for (const s of state) {
      this.arrays.set(s.path, new Float64Array(s.elements));
      this.#dtypes.set(s.path, s.dtype);
    }
  }
  async extend(state: readonly StateSpec[]): Promise<void> {
    this.#add(state);
  }
  async draw(): Promise<boolean> {
    return false;
  }
  of(path: string): Float64Array {
    const a = this.arrays.get(path);
    if (!a) throw new DeviceError({ kind: "UnknownState", path, known: [...this.arrays.keys()] });
    return a;
  }
  async read(path: string): Promise<HostArray> {
    return this.of(path).slice();
  }
  async write(path: string, data: ArrayLike<number>): Promise<void> {
    const a = this.of(path);
    if (a.length !== data.length)
      throw new DeviceError({ kind: "InputLength", name: path, expected: `${a.length} numbers`, elements: a.length, got: data.length });
    a.set(held(this.#dtypes.get(path) ?? "f32", data));
  }
  [Symbol.dispose](): void {
    this.arrays.clear();
  }
}

export const oracleBackend = (): Backend => ({
  name: "js",
  threads: 1,
  alloc: async (state) => new OracleState(state),
  compile: async (given) => {
    if (given.profile) throw unmeasured("js");
    const p = passed(given, "grad");
    if (isLeft(p)) return p;
    const { program, graph, state } = p.right;
    const extents = upTos([...graph.roots, ...Object.values(program.inputs)]);
    /** For the extents of the last run. */
    let last: { readonly sizes: string; readonly values: ReturnType<typeof evaluator> } | undefined;
    const evaluate = (env: ReadonlyMap<Leaf, Float64Array>, given: ReadonlyMap<number, number>) => {
      const sizes = extents.map((e) => given.get(e.id)).join();
      if (last?.sizes !== sizes)
        last = { sizes, values: evaluator(graph.roots, new Map(extents.map((e) => [e, given.get(e.id) as number])), graph.originals) };
      return last.values(env);
    };
    const executable: Executable = {
      kernels: [],
      run: async (kept, inputs, given) => {
        const env = new Map<Leaf, Float64Array>();
        if (!(kept instanceof OracleState)) throw new DeviceError({ kind: "ForeignState" });
        for (const l of state) env.set(l, kept.of(l.name));
        for (const [name, l] of Object.entries(program.inputs)) {
          const data = inputs[name];
          if (!data) throw new DeviceError({ kind: "MissingInput", name, expected: `an array over ${Object.keys(l.axes).join(", ") || "no axis"}` });
          env.set(l, held(l.dtype, data));
        }
        for (const name of Object.keys(inputs))
          if (!(name in program.inputs)) throw new DeviceError({ kind: "UnknownInput", name, known: Object.keys(program.inputs) });
        const values = evaluate(env, given);
        const names = Object.keys(program.outputs);
        program.updates.forEach((u, i) => void kept.of(u.leaf.name).set(values[names.length + i] as Float64Array));
        return Object.fromEntries(names.map((n, i) => [n, values[i] as Float64Array]));
      },
      [Symbol.dispose]: () => {
        last = undefined;
      },
    };
    return right({ executable, extents, state, plan: undefined });
  },
  [Symbol.dispose]: () => {},
});
const upTos = (roots: readonly Node[]): readonly UpTo[] => [
  ...new Set(order(roots).flatMap((n) => Object.values(n.axes).filter((e): e is UpTo => e instanceof UpTo))),
];
