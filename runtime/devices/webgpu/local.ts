// A GpuHost over a device of this process or page. A job is one command encoder and one submit; its faults are caught by error
// scopes around it, so that each is the fault of the job that made it.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import {
  COMPUTE_STAGE,
  FEATURES,
  type FeatureName,
  type Gpu,
  type GpuAdapter,
  type GpuBuffer,
  type GpuDevice,
  type GpuEncoder,
  type GpuHandle,
  LIMITS,
  MAP_READ,
  USAGE,
} from "./gpu.js";
import type { DispatchList, GpuDone, GpuFault, GpuHost, GpuJob, HostInfo, LostFault, PipelineSpec } from "./host.js";
import { type Staged, Staging } from "./staging.js";

export interface HostRequest {
  /** adapter (unless said): all it has; default: what WebGPU guarantees. */
  readonly limits?: "adapter" | "default";
  /** All that the adapter has, unless said. */
  readonly features?: readonly FeatureName[];
}

/** Asks the adapter for a device. `from`: what the adapter was asked of. Left: it gives none. */
export async function openHost(adapter: GpuAdapter, request: HostRequest = {}, from?: Gpu): Promise<Either<GpuFault, LocalHost>> {
  const features = (request.features ?? FEATURES).filter((f) => adapter.features.has(f));
  const requiredLimits = request.limits === "default" ? {} : Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  try {
    return right(new LocalHost(await adapter.requestDevice({ requiredFeatures: features, requiredLimits }), adapter, from));
  } catch (e) {
    return left({ kind: "refused", what: "a device", message: textOf(e) });
  }
}
const textOf = (e: unknown): string => (e instanceof Error ? e.message || e.name : String(e));

interface Compiled {
  readonly pipeline: GpuHandle;
  readonly layout: GpuHandle;
  /** Bytes of the uniform buffer that it binds. */
  readonly ints: number;
}
interface Pipeline {
  readonly key: string;
  readonly made: Promise<Either<GpuFault, Compiled>>;
  uses: number;
}
interface Prepared {
  readonly dispatches: readonly { readonly pipeline: GpuHandle; readonly group: GpuHandle; readonly offsets: readonly number[] }[];
  readonly uniform: GpuBuffer | null;
}
/** Dawn's work stops, or crashes, when what the device comes from is collected. */
const inUse = new Set<Gpu>();
const LINGER_MS = 1000;
const ALIGN = 256;
/** Of a set of timestamps, by the standard. */
const QUERIES = 4096;

export class LocalHost implements GpuHost {
  readonly info: HostInfo;
  readonly lost: Promise<LostFault>;
  readonly #buffers = new Map<number, GpuBuffer>();
  readonly #pipelines = new Map<number, Pipeline>();
  readonly #byKey = new Map<string, number>();
  readonly #lists = new Map<number, Prepared>();
  readonly #staging: Staging;
  #next = 1;
  #gone: LostFault | undefined;

  constructor(
    readonly device: GpuDevice,
    adapter: Pick<GpuAdapter, "info">,
    from?: Gpu,
  ) {
    if (from) {
      inUse.add(from);
      // Its threads may be at work for a while after the device is gone.
      void device.lost.then(async () => {
        await Promise.all([...this.#pipelines.values()].map((p) => p.made));
        setTimeout(() => inUse.delete(from), LINGER_MS);
      });
    }
    // Chrome and Edge have it from 127 on.
    const info = adapter.info ?? { vendor: "", architecture: "", device: "", description: "" };
    const features = FEATURES.filter((f) => device.features.has(f));
    this.info = {
      name: [info.vendor, info.architecture, info.device, info.description].filter((s) => s !== "").join(", ") || "unnamed adapter",
      software: info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe/i.test(`${info.architecture} ${info.device} ${info.description}`),
      limits: Object.fromEntries(LIMITS.map((name) => [name, device.limits[name]])) as HostInfo["limits"], // one for each name
      features,
      subgroups: features.includes("subgroups") ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 } : null,
    };
    this.lost = device.lost.then(({ reason, message }) => {
      this.#gone = { kind: "lost", reason: reason === "destroyed" ? "destroyed" : "unknown", message };
      return this.#gone;
    });
    this.#staging = new Staging(device);
  }

  async buffers(bytes: readonly number[], what: string): Promise<Either<GpuFault, readonly number[]>> {
    const made: GpuBuffer[] = [];
    const fault = await this.#guarded(what, sum(bytes), () => {
      for (const size of bytes) made.push(this.device.createBuffer({ size, usage: USAGE.storage | USAGE.copyFrom | USAGE.copyTo, label: what }));
    });
    if (fault) {
      for (const b of made) b.destroy();
      return left(fault);
    }
    return right(made.map((b) => this.#number(this.#buffers, b)));
  }
  free(buffers: readonly number[]): void {
    for (const b of buffers) {
      this.#buffers.get(b)?.destroy();
      this.#buffers.delete(b);
    }
  }

  async pipelines(specs: readonly PipelineSpec[]): Promise<Either<GpuFault, readonly number[]>> {
    const ids = specs.map((spec) => {
      const key = `${spec.access.join()};${spec.ints};${spec.source}`;
      const known = this.#byKey.get(key);
      const old = known === undefined ? undefined : this.#pipelines.get(known);
      if (old && known !== undefined) {
        old.uses++;
        return known;
      }
      const id = this.#number(this.#pipelines, { key, made: this.#compile(spec), uses: 1 });
      this.#byKey.set(key, id);
      return id;
    });
    for (const id of ids) {
      const made = await (this.#pipelines.get(id) as Pipeline).made;
      if (isLeft(made)) {
        this.release(ids);
        return made;
      }
    }
    return right(ids);
  }
  release(pipelines: readonly number[]): void {
    for (const id of pipelines) {
      const p = this.#pipelines.get(id);
      if (!p || --p.uses > 0) continue;
      this.#pipelines.delete(id);
      this.#byKey.delete(p.key);
    }
  }
  async #compile(spec: PipelineSpec): Promise<Either<GpuFault, Compiled>> {
    const { device } = this;
    let complaints = async (): Promise<string> => "";
    let made: Promise<Compiled | Error> | undefined;
    const fault = await this.#guarded(`kernel ${spec.name}`, 0, () => {
      const module = device.createShaderModule({ code: spec.source, label: spec.name });
      complaints = async () =>
        [...(await module.getCompilationInfo()).messages]
          .filter((m) => m.type === "error")
          .map((m) => `${m.lineNum}:${m.linePos} ${m.message}`)
          .join("\n");
      const entries = spec.access.map((a, binding) => ({
        binding,
        visibility: COMPUTE_STAGE,
        buffer: { type: a === "read" ? ("read-only-storage" as const) : ("storage" as const) },
      }));
      const uniform = { binding: entries.length, visibility: COMPUTE_STAGE, buffer: { type: "uniform" as const, hasDynamicOffset: true } };
      const layout = device.createBindGroupLayout({ entries: spec.ints > 0 ? [...entries, uniform] : entries });
      made = device
        .createComputePipelineAsync({
          label: spec.name,
          layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module, entryPoint: "main" },
        })
        .then(
          (pipeline) => ({ pipeline, layout, ints: Math.ceil((spec.ints * 4) / ALIGN) * ALIGN }),
          (e: unknown) => new Error(textOf(e)), // taken below: a rejection that nobody waits for would end the process
        );
    });
    const done = await made;
    if (!fault && done && !(done instanceof Error)) return right(done);
    if (this.#gone) return left(this.#gone);
    if (fault && fault.kind !== "refused") return left(fault);
    const message = (await complaints()) || (done instanceof Error ? done.message : (fault?.message ?? "no reason was given"));
    return left({ kind: "refused", what: `kernel ${spec.name}`, message });
  }

  async prepare(list: DispatchList): Promise<Either<GpuFault, number>> {
    const { device } = this;
    const compiled: Compiled[] = [];
    for (const d of list.dispatches) {
      const made = await this.#pipelines.get(d.pipeline)?.made;
      if (!made) return left({ kind: "refused", what: "a dispatch", message: `there is no pipeline ${d.pipeline}` });
      if (isLeft(made)) return made;
      compiled.push(made.right);
    }
    const groups = new Map<string, GpuHandle>();
    let prepared: Prepared | undefined;
    let made: GpuBuffer | null = null;
    const fault = await this.#guarded("a list of dispatches", list.uniform, () => {
      const uniform =
        list.uniform > 0 ? device.createBuffer({ size: list.uniform, usage: USAGE.uniform | USAGE.copyTo, label: "integers of dispatches" }) : null;
      made = uniform;
      const dispatches = list.dispatches.map((d, i) => {
        const { pipeline, layout, ints } = compiled[i] as Compiled;
        const key = `${d.pipeline}:${d.bindings.map((b) => `${b.buffer} ${b.offset} ${b.bytes}`).join()}`;
        let group = groups.get(key);
        if (!group) {
          const entries = d.bindings.map((b, binding) => ({
            binding,
            resource: { buffer: this.#buffer(b.buffer), offset: b.offset, size: b.bytes },
          }));
          if (d.ints !== null && uniform) entries.push({ binding: entries.length, resource: { buffer: uniform, offset: 0, size: ints } });
          group = device.createBindGroup({ layout, entries });
          groups.set(key, group);
        }
        return { pipeline, group, offsets: d.ints === null ? [] : [d.ints] };
      });
      prepared = { dispatches, uniform };
    });
    if (fault || !prepared) {
      (made as GpuBuffer | null)?.destroy(); // it was made inside a closure, which the compiler does not see
      return left(fault ?? { kind: "refused", what: "a list of dispatches", message: "no reason was given" });
    }
    return right(this.#number(this.#lists, prepared));
  }
  drop(list: number): void {
    this.#lists.get(list)?.uniform?.destroy();
    this.#lists.delete(list);
  }

  /** All that the job asks of the GPU is asked before the first await, which is what keeps jobs in order. */
  async submit(job: GpuJob): Promise<Either<GpuFault, GpuDone>> {
    const { device } = this;
    if (this.#gone) return left(this.#gone);
    const { run } = job;
    const reads = job.reads ?? [];
    const places: number[] = [];
    let bytes = 0;
    for (const r of reads) {
      places.push(bytes);
      bytes += Math.ceil(r.bytes / 8) * 8;
    }
    const timed = run?.timed === true && this.info.features.includes("timestamp-query") ? run.groups.length / 2 : 0;
    const timesAt = bytes;
    bytes += timed * 16;
    let staging: Staged | undefined;
    const spent: { destroy(): void }[] = [];
    let mapped: Promise<unknown> | undefined;
    const guarded = this.#guarded("a run", bytes, () => {
      if (bytes > 0) staging = this.#staging.take(bytes);
      const into = staging;
      for (const w of job.writes ?? []) this.#write(this.#buffer(w.buffer), w.offset, w.data);
      const list = run && this.#list(run.list);
      if (run?.ints && list?.uniform) this.#write(list.uniform, 0, run.ints);
      if (!list && !into && (job.copies ?? []).length === 0) return; // what was written is there before all that comes later
      const encoder = device.createCommandEncoder();
      for (const c of job.copies ?? []) encoder.copyBufferToBuffer(this.#buffer(c.from), c.fromOffset, this.#buffer(c.to), c.toOffset, c.bytes);
      if (run && list) {
        if (timed > 0 && into) spent.push(...this.#timed(encoder, list, run.groups, into.buffer, timesAt));
        else this.#untimed(encoder, list, run.groups);
      }
      if (into) reads.forEach((r, i) => void encoder.copyBufferToBuffer(this.#buffer(r.buffer), r.offset, into.buffer, places[i] as number, r.bytes));
      device.queue.submit([encoder.finish()]);
      mapped = into ? into.buffer.mapAsync(MAP_READ) : device.queue.onSubmittedWorkDone();
      mapped.catch(() => undefined); // taken below
    });
    const fault = await guarded;
    let failed: GpuFault | undefined = fault;
    if (!failed)
      try {
        await mapped;
      } catch (e) {
        failed = (await this.#whyNot()) ?? { kind: "refused", what: "a read", message: textOf(e) };
      }
    for (const s of spent) s.destroy();
    const held = staging as Staged | undefined; // it was taken inside a closure, which the compiler does not see
    if (failed) {
      held?.discard();
      return left(failed);
    }
    if (!held) return right({ reads: [] });
    const all = new Uint8Array(held.buffer.getMappedRange(0, held.bytes));
    const out = reads.map((r, i) => all.slice(places[i] as number, (places[i] as number) + r.bytes));
    const stamps = timed > 0 ? new BigUint64Array(all.slice(timesAt, timesAt + timed * 16).buffer) : undefined;
    held.giveBack();
    if (!stamps) return right({ reads: out });
    return right({
      reads: out,
      times: Float64Array.from({ length: timed }, (_, i) => Math.max(0, Number((stamps[2 * i + 1] as bigint) - (stamps[2 * i] as bigint)))),
    });
  }
  #untimed(encoder: GpuEncoder, list: Prepared, groups: Uint32Array): void {
    const pass = encoder.beginComputePass();
    let bound: GpuHandle | undefined;
    list.dispatches.forEach((d, i) => {
      const [x, y] = [groups[2 * i] as number, groups[2 * i + 1] as number];
      if (x * y === 0) return;
      if (d.pipeline !== bound) pass.setPipeline(d.pipeline);
      bound = d.pipeline;
      pass.setBindGroup(0, d.group, d.offsets);
      pass.dispatchWorkgroups(x, y);
    });
    pass.end();
  }
  /** Time is taken around passes alone: here each dispatch is one. */
  #timed(encoder: GpuEncoder, list: Prepared, groups: Uint32Array, to: GpuBuffer, at: number): { destroy(): void }[] {
    const spent: { destroy(): void }[] = [];
    const { device } = this;
    const n = list.dispatches.length;
    for (let first = 0; first < n; first += QUERIES / 2) {
      const part = list.dispatches.slice(first, first + QUERIES / 2);
      const querySet = device.createQuerySet({ type: "timestamp", count: part.length * 2 });
      const resolved = device.createBuffer({ size: part.length * 16, usage: USAGE.resolve | USAGE.copyFrom });
      spent.push(querySet, resolved);
      part.forEach((d, i) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
        });
        const [x, y] = [groups[2 * (first + i)] as number, groups[2 * (first + i) + 1] as number];
        if (x * y > 0) {
          pass.setPipeline(d.pipeline);
          pass.setBindGroup(0, d.group, d.offsets);
          pass.dispatchWorkgroups(x, y);
        }
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, part.length * 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, to, at + first * 16, part.length * 16);
    }
    return spent;
  }

  destroy(): void {
    this.device.destroy();
    this.#buffers.clear();
    this.#lists.clear();
    this.#pipelines.clear();
    this.#byKey.clear();
  }

  #number<T>(table: Map<number, T>, value: T): number {
    const id = this.#next++;
    table.set(id, value);
    return id;
  }
  #buffer(id: number): GpuBuffer {
    const b = this.#buffers.get(id);
    if (!b) throw new Error(`there is no buffer ${id}`);
    return b;
  }
  #list(id: number): Prepared {
    const l = this.#lists.get(id);
    if (!l) throw new Error(`there is no list ${id}`);
    return l;
  }
  #write(to: GpuBuffer, offset: number, data: Uint8Array): void {
    if (data.byteLength > 0) this.device.queue.writeBuffer(to, offset, data.buffer as ArrayBuffer, data.byteOffset, data.byteLength); // ours are never shared
  }
  /** What `ask` asks of the GPU at once, and what that was answered with. */
  async #guarded(what: string, bytes: number, ask: () => void): Promise<GpuFault | undefined> {
    if (this.#gone) return this.#gone;
    const { device } = this;
    for (const filter of SCOPES) device.pushErrorScope(filter);
    let thrown: string | undefined;
    try {
      ask();
    } catch (e) {
      thrown = textOf(e);
    }
    const answers = SCOPES.map(() => device.popErrorScope());
    try {
      const [internal, validation, memory] = await Promise.all(answers);
      if (this.#gone) return this.#gone;
      if (memory) return { kind: "memory", bytes, message: memory.message };
      const message = validation?.message ?? internal?.message ?? thrown;
      return message === undefined ? undefined : ((await this.#whyNot()) ?? { kind: "refused", what, message });
    } catch (e) {
      return (await this.#whyNot()) ?? { kind: "refused", what, message: textOf(e) };
    }
  }
  /** Whether the device is lost, which may be told a moment after what failed by it. */
  async #whyNot(): Promise<LostFault | undefined> {
    await Promise.race([this.lost, new Promise((go) => setTimeout(go, 20))]);
    return this.#gone;
  }
}
/** Popped in the opposite order. */
const SCOPES = ["out-of-memory", "validation", "internal"] as const;
const sum = (xs: readonly number[]): number => xs.reduce((n, x) => n + x, 0);
