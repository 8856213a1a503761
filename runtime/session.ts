// A session owns state: weights, optimizer state, caches, by path. Programs (a training step, an evaluation, a decoding
// step) are compiled for its device and bound to that state, so that they share weights.
import { isLeft } from "fp-ts/lib/Either.js";
import { maxOf } from "../compiler/lower/expr.js";
import type { Plan } from "../compiler/plan.js";
import type { Storage } from "../dsl/model.js";
import type { Leaf, Node, UpTo } from "../dsl/node.js";
import { keyWords, normalAt } from "../dsl/random.js";
import type { Backend, Compiled } from "./backend.js";
import type { DeviceState, Executable, HostArray, StateSpec } from "./device.js";
import { DeviceError } from "./errors.js";
import { extentsOf } from "./extents.js";
import { Freshness } from "./kept.js";

export interface ProgramSpec {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Leaf>>;
  readonly outputs: Readonly<Record<string, Node>>;
  /** New values of weights and state, computed from the old ones, all at once. */
  readonly updates?: readonly { readonly leaf: Leaf; readonly value: Node }[];
  /** What the forward pass keeps is stored as; f32 unless said (compiler/graph/precision.ts). */
  readonly compute?: Storage;
  /** Each run's results then have the times of its kernels too, which `kernelTimes` reads. Native alone. */
  readonly profile?: boolean;
}

export class Session {
  #state: DeviceState | undefined;
  readonly #leaves = new Map<string, Leaf>();
  readonly #programs = new Set<SessionProgram>();
  readonly #freshness = new Freshness();
  #holding: Promise<void> = Promise.resolve();
  #disposed = false;

  constructor(readonly backend: Backend) {}

  get device(): string {
    return this.backend.name;
  }
  /** Every path that a program of this session has, or that was initialised. */
  get paths(): readonly string[] {
    return [...this.#leaves.keys()];
  }
  leaf(path: string): Leaf | undefined {
    return this.#leaves.get(path);
  }

  /** Compiles. Expressions are differentiated and lowered here; their errors are thrown as they are. */
  async program(spec: ProgramSpec): Promise<SessionProgram> {
    this.#alive();
    const compiled = await this.backend.compile({ ...spec, updates: spec.updates ?? [] });
    if (isLeft(compiled)) throw compiled.left;
    await this.#hold(compiled.right.state);
    const made = new SessionProgram(spec, compiled.right, () => this.#bound(), this.#freshness);
    this.#programs.add(made);
    return made;
  }

  /** Fills weights with their initial values: a function of the seed and the path alone, the same on every device. */
  async initialise(leaves: readonly Leaf[], seed: number): Promise<void> {
    await this.#hold(leaves);
    for (const leaf of leaves) {
      this.#freshness.wrote(leaf.name);
      const init = leaf.param?.init ?? { fill: 0 };
      if ("std" in init && (await this.#bound().draw(leaf.name, keyWords(leaf.name, [seed]), init.std))) continue;
      await this.write(leaf.name, initial(leaf, seed));
    }
  }
  async read(path: string): Promise<HostArray> {
    return this.#bound().read(path);
  }
  async write(path: string, data: ArrayLike<number>): Promise<void> {
    const state = this.#bound();
    this.#freshness.wrote(path);
    return state.write(path, data);
  }
  /** Makes room for these leaves; what is held already stays. */
  async hold(leaves: readonly Leaf[]): Promise<void> {
    await this.#hold(leaves);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const p of this.#programs) p[Symbol.dispose]();
    this.#state?.[Symbol.dispose]();
    this.backend[Symbol.dispose]();
  }

  /** One after another: two programs compiled at once may have state in common. */
  #hold(leaves: readonly Leaf[]): Promise<void> {
    const held = this.#holding.then(() => this.#makeRoom(leaves));
    this.#holding = held.catch(() => undefined); // its caller has the error
    return held;
  }
  async #makeRoom(leaves: readonly Leaf[]): Promise<void> {
    this.#alive();
    const fresh = new Map<string, Leaf>();
    for (const l of leaves) {
      const known = this.#leaves.get(l.name) ?? fresh.get(l.name);
      if (!known) fresh.set(l.name, l);
      else if (sizeOf(known) !== sizeOf(l))
        throw new DeviceError({ kind: "StateMismatch", path: l.name, expected: `${sizeOf(l)} elements`, got: `${sizeOf(known)} elements` });
    }
    if (fresh.size === 0 && this.#state) return;
    const specs = [...fresh].map(([path, l]): StateSpec => ({ path, dtype: l.dtype, elements: sizeOf(l) }));
    if (this.#state) await this.#state.extend(specs);
    else this.#state = await this.backend.alloc(specs);
    for (const [path, l] of fresh) this.#leaves.set(path, l);
  }
  #bound(): DeviceState {
    this.#alive();
    if (!this.#state) throw new DeviceError({ kind: "UnknownState", path: "", known: [] });
    return this.#state;
  }
  #alive(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "a program or its session" });
  }
}

export class SessionProgram {
  constructor(
    readonly spec: ProgramSpec,
    readonly compiled: Compiled,
    readonly state: () => DeviceState,
    readonly freshness: Freshness,
  ) {}
  get executable(): Executable {
    return this.compiled.executable;
  }
  get extents(): readonly UpTo[] {
    return this.compiled.extents;
  }
  get plan(): Plan | undefined {
    return this.compiled.plan;
  }
  get kernels(): Executable["kernels"] {
    return this.executable.kernels;
  }
  /** `extents`: by axis name, for run-time extents that the arrays' lengths do not tell. */
  async run(
    inputs: Readonly<Record<string, ArrayLike<number>>>,
    extents?: Readonly<Record<string, number>>,
  ): Promise<Readonly<Record<string, HostArray>>> {
    const arrays = inputs ?? {}; // left out by a caller without types: what is missing is named
    const sizes = extentsOf(this.spec.inputs, arrays, this.extents, extents);
    const state = this.state();
    const { kept } = this.compiled;
    const values = kept?.values ?? [];
    const stale = !this.freshness.fresh(values);
    this.freshness.ran(
      (this.spec.updates ?? []).map((u) => u.leaf.name),
      values,
    );
    try {
      // Both at once: the device runs them in this order, and no other run comes between.
      const [, results] = await Promise.all([stale && kept?.refresh.run(state, {}, new Map()), this.executable.run(state, arrays, sizes)]);
      return results;
    } catch (e) {
      this.freshness.lost(values);
      throw e;
    }
  }
  [Symbol.dispose](): void {
    this.executable[Symbol.dispose]();
    this.compiled.kept?.refresh[Symbol.dispose]();
  }
}

const sizeOf = (l: Leaf): number => Object.values(l.axes).reduce<number>((n, e) => n * maxOf(e), 1);

/** A weight's first values. */
export function initial(leaf: Leaf, seed: number): Float32Array {
  const out = new Float32Array(sizeOf(leaf));
  const init = leaf.param?.init ?? { fill: 0 };
  if ("fill" in init) return out.fill(init.fill);
  const key = keyWords(leaf.name, [seed]);
  for (let i = 0; i < out.length; i++) out[i] = init.std * normalAt(key, i);
  return out;
}
