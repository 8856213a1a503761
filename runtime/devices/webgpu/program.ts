// A compiled program on the GPU: its pipelines, the buffers of its segments, which are made when it first runs, and for each
// state that it runs on a list of dispatches with everything bound. A run writes its inputs, submits the list and reads the
// outputs back, in one job; the next may be submitted before the results are there.
import { isLeft } from "fp-ts/lib/Either.js";
import type { Buffer } from "../../../compiler/lower/expr.js";
import { elements } from "../../../compiler/lower/expr.js";
import { nestsOf } from "../../../compiler/lower/turns.js";
import type { Plan } from "../../../compiler/plan.js";
import type { IntSource, Range, WgslProgram } from "../../../compiler/targets/wgsl/program.js";
import type { Segments } from "../../../compiler/targets/wgsl/segments.js";
import { bytesIn, storageOf } from "../../../compiler/targets/wgsl/storage.js";
import type { DeviceState, Executable, HostArray } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { checkRun, checkState, fromStorage, layoutOf, orThrow, type Staged, toStorage, withOwnData } from "../../host.js";
import { gathered, packed, reach, spread, unpacked, withInfinities } from "./bytes.js";
import type { Context } from "./context.js";
import { answer } from "./faults.js";
import type { GpuJob, HostBinding } from "./host.js";
import { extentValues, groupsOf, intOf, type Scheduled, schedule, slotsOf, variablesOf } from "./schedule.js";
import { State } from "./state.js";

interface Bound {
  readonly generation: number;
  readonly list: number;
  /** The extents that its uniform buffer is filled for. */
  sizes: string | null;
}
interface Extended {
  readonly sizes: string;
  readonly groups: Uint32Array;
}
type Reads = NonNullable<GpuJob["reads"]>;
/** Outputs that lie as near to each other as this are read back together. */
const NEAR = 4096;

export class Program implements Executable {
  readonly kernels: Executable["kernels"];
  readonly #scheduled: readonly Scheduled[];
  readonly #slots: ReturnType<typeof slotsOf>;
  /** One for each piece of the segments, once allocated. */
  #buffers: readonly number[] | null = null;
  readonly #bound = new Map<State, Bound>();
  #extended: Extended | undefined;
  #disposed = false;

  constructor(
    readonly context: Context,
    readonly plan: Plan,
    readonly program: WgslProgram,
    readonly segments: Segments,
    readonly pipelines: readonly number[],
  ) {
    this.kernels = program.kernels;
    this.#scheduled = schedule(program.steps);
    this.#slots = slotsOf(program, this.#scheduled);
    context.owned.add(this);
  }
  get #name(): string {
    return `program ${this.plan.name}`;
  }
  #check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: this.#name });
  }

  async run(
    given: DeviceState,
    inputs: Readonly<Record<string, ArrayLike<number>>>,
    extents: ReadonlyMap<number, number>,
  ): Promise<Readonly<Record<string, HostArray>>> {
    this.#check();
    if (!(given instanceof State) || given.context !== this.context) throw new DeviceError({ kind: "ForeignState" });
    const { sizes, extents: now, staged } = orThrow(checkRun(this.plan, inputs, extents));
    this.#checkState(given);
    const { order, host } = this.context;
    // The caller may change its arrays as soon as this returns; with nothing before us they are sent before it does.
    const early = order.idle && this.#buffers !== null && this.#bound.get(given)?.generation === given.generation;
    const own = early ? staged : withOwnData(staged, inputs);
    return order.add(async () => {
      this.#check();
      given.check();
      const buffers = this.#buffers ?? (await this.#allocate());
      const known = this.#bound.get(given);
      const bound = known?.generation === given.generation ? known : await this.#bind(given, buffers);
      const at = this.#extend(sizes);
      const reads = this.#reads(given, buffers, now);
      const timed = this.plan.profile !== undefined;
      const job: GpuJob = {
        writes: this.#writes(own, buffers),
        run: { list: bound.list, ints: bound.sizes === at.sizes ? null : this.#ints(given, sizes), groups: at.groups, timed },
        reads: reads.jobs,
      };
      bound.sizes = at.sizes;
      return {
        done: host.submit(job).then((done) => {
          const got = answer(done, `the results of ${this.#name}`);
          const out: Record<string, HostArray> = {};
          for (const r of reads.outputs) {
            const bytes = got.reads[r.read]?.subarray(r.offset) ?? new Uint8Array(0); // what has no elements is not read
            const layout = layoutOf(r.buffer, now);
            out[r.name] = withInfinities(
              fromStorage(r.buffer.dtype, gathered(r.buffer.dtype, unpacked(r.buffer.dtype, bytes, reach(layout)), layout)),
            );
          }
          for (const [name, b] of Object.entries(this.plan.outputs)) if (b === this.plan.profile) out[name] = this.#times(b, got.times);
          return out;
        }),
      };
    });
  }

  #checkState(state: State): void {
    for (const [path, b] of Object.entries(this.plan.state)) orThrow(checkState(b, elements(b), state.specOf(path)));
  }

  async #allocate(): Promise<readonly number[]> {
    const { host, count } = this.context;
    const sizes = this.segments.pieces.map((p) => p.bytes);
    const what = `the memory of ${this.#name}`;
    const buffers = sizes.length === 0 ? [] : answer(await host.buffers(sizes, what), what);
    count(sizes.reduce((n, b) => n + b, 0));
    this.#buffers = buffers;
    this.#check(); // disposed meanwhile: what it has is freed in its turn
    const tables = this.plan.buffers.flatMap((b) => {
      if (b.role !== "table" || !b.data || !this.program.places.has(b)) return [];
      const stored = storageOf(b);
      return [{ ...this.#placeOf(b, buffers), data: packed(orThrow(toStorage(b.name, stored, b.data))) }];
    });
    if (tables.length > 0) {
      const written = await host.submit({ writes: tables });
      if (isLeft(written)) {
        // The next run begins anew: memory without its tables would give wrong results.
        this.#buffers = null;
        host.free(buffers);
        count(-sizes.reduce((n, b) => n + b, 0));
      }
      answer(written, what);
    }
    return buffers;
  }
  #placeOf(b: Buffer, buffers: readonly number[]): { readonly buffer: number; readonly offset: number } {
    const place = this.program.places.get(b);
    if (!place) throw new Error(`buffer ${b.name} of ${this.plan.name} has no place`); // the compiler's defect
    const { piece, offset } = this.segments.at(place.segment, place.offset);
    return { buffer: buffers[piece] as number, offset };
  }
  #rangeOf(r: Range, state: State, buffers: readonly number[]): HostBinding {
    if (r.segment === "state") return state.bindingOf(r.path);
    const { piece, offset } = this.segments.at(r.segment, r.offset);
    return { buffer: buffers[piece] as number, offset, bytes: r.bytes };
  }

  async #bind(state: State, buffers: readonly number[]): Promise<Bound> {
    const { host } = this.context;
    const old = this.#bound.get(state);
    if (old) host.drop(old.list);
    this.#bound.delete(state);
    const dispatches = this.#scheduled.map(({ step }, i) => ({
      pipeline: this.pipelines[step.pipeline] as number,
      bindings: step.bindings.map((r) => this.#rangeOf(r, state, buffers)),
      ints: this.#slots.slots[i] as number | null,
    }));
    const list = answer(await host.prepare({ dispatches, uniform: this.#slots.bytes }), `the bindings of ${this.#name}`);
    const bound = { generation: state.generation, list, sizes: null };
    this.#bound.set(state, bound);
    for (const s of this.#bound.keys()) if (!s.alive) this.#unbind(s);
    return bound;
  }
  #unbind(state: State): void {
    const bound = this.#bound.get(state);
    this.#bound.delete(state);
    if (bound) this.context.host.drop(bound.list);
  }

  /** How many workgroups each dispatch has. */
  #extend(sizes: readonly number[]): Extended {
    const key = sizes.join();
    if (this.#extended?.sizes === key) return this.#extended;
    const extents = extentValues(this.plan.extents, sizes);
    const groups = new Uint32Array(2 * this.#scheduled.length);
    const most = this.context.host.info.limits.maxComputeWorkgroupsPerDimension;
    this.#scheduled.forEach((s, i) => {
      const variables = variablesOf(s, extents);
      if (!variables) return;
      const count = intOf(s.step.workgroups, variables);
      const of = groupsOf(count, most);
      if (!of)
        throw new DeviceError({
          kind: "CannotHold",
          device: "webgpu",
          reason: `kernel ${s.step.name} has ${count} workgroups, and this adapter dispatches ${most * most} at most`,
          todo: "use a smaller batch or the native device",
        });
      groups.set(of, 2 * i);
    });
    this.#extended = { sizes: key, groups };
    return this.#extended;
  }
  /** The uniform buffer's contents. */
  #ints(state: State, sizes: readonly number[]): Uint8Array {
    const extents = extentValues(this.plan.extents, sizes);
    const out = new DataView(new ArrayBuffer(this.#slots.bytes));
    this.#scheduled.forEach((s, i) => {
      const slot = this.#slots.slots[i];
      const variables = variablesOf(s, extents);
      if (slot === null || slot === undefined || !variables) return;
      s.step.ints.forEach((source, k) => void out.setInt32(slot + 4 * k, this.#memberOf(source, s, state, variables), true));
    });
    return new Uint8Array(out.buffer);
  }
  #memberOf(source: IntSource, { step }: Scheduled, state: State, variables: ReadonlyMap<string, number>): number {
    if (source.of === "variable") {
      const value = variables.get(source.name);
      if (value === undefined) throw new Error(`variable ${source.name} has no value in ${step.name}`); // the compiler's defect
      return value;
    }
    const range = step.bindings[source.binding];
    const { buffer } = source;
    if (!range) throw new Error(`${step.name} has no binding ${source.binding}`); // the compiler's defect
    if (range.segment === "state") {
      const path = this.#paths.get(buffer);
      if (path === undefined) throw new Error(`state ${buffer.name} of ${this.plan.name} has no path`); // the compiler's defect
      return (state.bindingOf(path).offset - state.bindingOf(range.path).offset) / 4;
    }
    const place = this.program.places.get(buffer);
    if (!place) throw new Error(`buffer ${buffer.name} of ${this.plan.name} has no place`); // the compiler's defect
    return (place.offset - range.offset) / 4;
  }
  get #paths(): ReadonlyMap<Buffer, string> {
    return new Map(Object.entries(this.plan.state).map(([path, b]) => [b, path]));
  }

  #writes(staged: readonly Staged[], buffers: readonly number[]): NonNullable<GpuJob["writes"]> {
    return staged.flatMap(({ buffer, data, layout }) =>
      layout.elements === 0 || !this.program.places.has(buffer)
        ? []
        : [{ ...this.#placeOf(buffer, buffers), data: packed(spread(buffer.dtype, data, layout)) }],
    );
  }
  /** Where each output is among what is read. */
  #reads(state: State, buffers: readonly number[], now: ReadonlyMap<number, number>) {
    const wanted = Object.entries(this.plan.outputs).flatMap(([name, b]) => {
      if (b === this.plan.profile) return [];
      const place = b.role === "state" ? state.bindingOf(this.#paths.get(b) ?? null) : this.#placeOf(b, buffers);
      const all = elements(b);
      const bytes = all === 0 ? 0 : Math.ceil(((bytesIn(b) / all) * reach(layoutOf(b, now))) / 4) * 4;
      return [{ name, b, buffer: place.buffer, offset: place.offset, bytes: Math.min(bytes, bytesIn(b)) }];
    });
    const jobs: { buffer: number; offset: number; bytes: number }[] = [];
    const outputs: { readonly name: string; readonly buffer: Buffer; readonly read: number; readonly offset: number }[] = [];
    for (const w of [...wanted].sort((x, y) => x.buffer - y.buffer || x.offset - y.offset)) {
      if (w.bytes === 0) {
        outputs.push({ name: w.name, buffer: w.b, read: -1, offset: 0 });
        continue;
      }
      const last = jobs.at(-1);
      if (last && last.buffer === w.buffer && w.offset - (last.offset + last.bytes) <= NEAR)
        last.bytes = Math.max(last.bytes, w.offset + w.bytes - last.offset);
      else jobs.push({ buffer: w.buffer, offset: w.offset, bytes: w.bytes });
      outputs.push({ name: w.name, buffer: w.b, read: jobs.length - 1, offset: w.offset - (jobs.at(-1)?.offset ?? 0) });
    }
    const at = new Map(wanted.map((w, i) => [w.name, i]));
    outputs.sort((x, y) => (at.get(x.name) ?? 0) - (at.get(y.name) ?? 0)); // as the plan has them
    return { jobs: jobs as Reads, outputs };
  }

  /** Microseconds in each nest; a GPU's dispatches do not wait for each other's threads as those of a pool do. */
  #times(profile: Buffer, times: Float64Array | undefined): Float32Array {
    const out = new Float32Array(elements(profile));
    const at = new Map(nestsOf(this.plan.steps).map(({ nest }, i) => [nest.name, i]));
    this.#scheduled.forEach(({ step }, i) => {
      // A nest with more buffers than may be bound is dispatched in parts.
      let { name } = step;
      while (!at.has(name) && /_part[12]$/.test(name)) name = name.slice(0, -"_part1".length);
      const nest = at.get(name);
      if (nest !== undefined) out[2 * nest] = (out[2 * nest] as number) + (times?.[i] ?? 0) / 1e3;
    });
    return out;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context.owned.delete(this);
    this.context.order.release(() => {
      const { host, count } = this.context;
      for (const s of [...this.#bound.keys()]) this.#unbind(s);
      host.release(this.pipelines);
      if (!this.#buffers) return;
      host.free(this.#buffers);
      count(-this.segments.pieces.reduce((n, p) => n + p.bytes, 0));
      this.#buffers = null;
    });
  }
}
