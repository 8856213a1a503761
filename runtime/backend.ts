// What a session needs of a device: from a program to something that runs. Compiled devices run all graph passes and
// lower the result to a plan; the f64 oracle stops before simplification and evaluates the graph as the author wrote it.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { showCaptureError } from "../compiler/capture/error.js";
import { GraphError, type PassError } from "../compiler/graph/error.js";
import { type Identity, identityOf } from "../compiler/graph/identity.js";
import type { IncrementalError } from "../compiler/graph/incremental.js";
import { type Kept, keep } from "../compiler/graph/kept.js";
import { order } from "../compiler/graph/walk.js";
import { type LowerError, type LowerOptions, lower, type Program } from "../compiler/lower/lower.js";
import type { Step } from "../compiler/lower/nest.js";
import { type Graph, runGraphPasses } from "../compiler/pipeline.js";
import type { Plan } from "../compiler/plan.js";
import { cast, showShape } from "../dsl/build.js";
import { isFloat, ordered } from "../dsl/derivative/terms.js";
import { MallardError } from "../dsl/errors.js";
import type { Storage } from "../dsl/model.js";
import { type DType, type Leaf, type Node, UpTo } from "../dsl/node.js";
import { placesOf } from "../dsl/places.js";
import { evaluate } from "../dsl/primitives.js";
import type { Device, DeviceState, Executable, HostArray, ProgramStore, StateSpec } from "./device.js";
import { evaluator } from "./devices/js/oracle.js";
import { DeviceError } from "./errors.js";
import { decode, encode, type Recalled } from "./image.js";
import { profiled, unmeasured } from "./profiled.js";

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
  /** How many kernels a run calls. */
  readonly kernels: number;
  /** Values of weights that the program reads in their place and brings up to date as it moves them, and what computes
   *  them from the weights as they are. */
  readonly kept?: { readonly values: readonly Pick<Kept, "leaf" | "weight">[]; readonly refresh: Executable };
}
/** A program, and what its forward pass keeps activations as (compiler/graph/precision.ts). */
export type Given = Program & { readonly compute?: Storage };
export interface Backend {
  readonly name: string;
  /** What computes, for the user. */
  readonly hardware: string;
  readonly threads: number;
  readonly ahead?: number | undefined;
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

/** A program's plans: its own, and the one that computes its kept values. */
interface Lowered extends Pick<Passed, "state" | "kept"> {
  readonly plan: Plan;
  readonly refresh: Plan | undefined;
}
function lowered(program: Given, o: LowerOptions): Either<CompileError, Lowered> {
  const p = passed(program);
  if (isLeft(p)) return p;
  const plan = lower(p.right.program, o);
  if (isLeft(plan)) return left(new CompileError([plan.left]));
  const { state, kept } = p.right;
  const refresh =
    kept.length > 0 ? lower({ name: `${program.name}_kept`, inputs: {}, outputs: {}, updates: [], kept }, { ...o, tiles: false }) : undefined;
  if (refresh && isLeft(refresh)) return left(new CompileError([refresh.left]));
  return right({ plan: plan.right, refresh: refresh?.right, state, kept });
}

export const compiledBackend = (device: Device, threads: number): Backend => ({
  name: device.name,
  hardware: device.hardware,
  threads,
  ahead: device.ahead,
  alloc: (state) => device.alloc(state),
  compile: async (program) => {
    // A program that measures itself shows its plan in any case.
    const store = program.profile ? undefined : device.programs;
    const identity = store && identityOf({ ...program, lowering: device.lowering });
    const key = identity ? (store?.key(identity.text) ?? null) : null;
    if (store && identity && key !== null) {
      const known = recalled(store, key, identity, () => lowered(program, device.lowering));
      if (known) return right(known);
    }
    const made = lowered(program, device.lowering);
    if (isLeft(made)) return made;
    const { refresh, state, kept: values } = made.right;
    const plan = program.profile ? profiled(made.right.plan, device, threads) : made.right.plan;
    const [executable, again] = await Promise.all([device.compile(plan), refresh && device.compile(refresh)]);
    const kernels = kernelCount(plan.steps);
    if (store && identity && key !== null && executable.image) {
      const kept = again?.image ? { values, refresh: again.image } : null;
      const bytes = encode({ main: executable.image, extents: plan.extents, state, kept, kernels }, identity);
      if (bytes) store.keep(key, bytes);
    }
    return right({ executable, extents: plan.extents, state, plan, kernels, ...(again ? { kept: { values, refresh: again } } : {}) });
  },
  [Symbol.dispose]: () => device[Symbol.dispose](),
});
const kernelCount = (steps: readonly Step[]): number => steps.reduce((n, s) => n + (s.step === "loop" ? kernelCount(s.body) : 1), 0);

/** The program as a process before left it. Its plan is made when somebody asks for it. */
function recalled(store: ProgramStore, key: string, identity: Identity, lower: () => Either<CompileError, Lowered>): Compiled | undefined {
  const bytes = store.recall(key);
  if (!bytes) return undefined;
  let r: Recalled;
  try {
    r = decode(bytes, identity);
  } catch (e) {
    store.refuse(key, `${key}: ${e instanceof Error ? e.message : String(e)}`);
    return undefined;
  }
  let made: Lowered | undefined;
  const plans = (): Lowered => {
    if (made) return made;
    const again = lower();
    if (isLeft(again)) throw again.left; // it was compiled before: a defect
    made = again.right;
    return made;
  };
  const executable = store.open(r.main, () => plans().plan);
  if (!executable) {
    store.refuse(key, null);
    return undefined;
  }
  const refresh = r.kept && store.open(r.kept.refresh, () => plans().refresh as Plan); // a program with kept values has one
  if (r.kept && !refresh) {
    executable[Symbol.dispose]();
    store.refuse(key, null);
    return undefined;
  }
  return {
    executable,
    extents: r.extents,
    state: r.state,
    kernels: r.kernels,
    get plan() {
      return plans().plan;
    },
    ...(r.kept && refresh ? { kept: { values: r.kept.values, refresh } } : {}),
  };
}

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
  hardware: "1 thread",
  threads: 1,
  alloc: async (state) => new OracleState(state),
  compile: async (given) => {
    if (given.profile) throw unmeasured("js");
    const p = passed(given, "grad");
    if (isLeft(p)) return p;
    const { program, graph, state } = p.right;
    const extents = upTos([...graph.roots, ...Object.values(program.inputs)]);
    // New state lies as its leaf does, whatever the order of the value's axes.
    const roots = [...graph.roots.slice(0, Object.keys(program.outputs).length), ...program.updates.map((u) => ordered(u.value, u.leaf.axes))];
    /** For the extents of the last run. */
    let last: { readonly sizes: string; readonly values: ReturnType<typeof evaluator> } | undefined;
    const evaluate = (env: ReadonlyMap<Leaf, Float64Array>, given: ReadonlyMap<number, number>) => {
      const sizes = extents.map((e) => given.get(e.id)).join();
      if (last?.sizes !== sizes)
        last = { sizes, values: evaluator(roots, new Map(extents.map((e) => [e, given.get(e.id) as number])), graph.originals) };
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
    return right({ executable, extents, state, plan: undefined, kernels: 0 });
  },
  [Symbol.dispose]: () => {},
});
const upTos = (roots: readonly Node[]): readonly UpTo[] => [
  ...new Set(order(roots).flatMap((n) => Object.values(n.axes).filter((e): e is UpTo => e instanceof UpTo))),
];
