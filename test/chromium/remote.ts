// A page in Chromium as a test has it: WebGPU and gpu.js there, behind the interfaces that the devices here drive. A process
// has one page, opened at the first use; it closes with the process.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { inject } from "vitest";
import { WebSocket } from "ws";
import type { GpujsMode, GpujsProgram } from "../../compiler/targets/gpujs/index.js";
import type { GpujsCall, GpujsHost, GpujsResult } from "../../runtime/devices/gpujs/host.js";
import type { DispatchList, GpuDone, GpuFault, GpuHost, GpuJob, HostInfo, LostFault, PipelineSpec } from "../../runtime/devices/webgpu/host.js";
import type { HostRequest } from "../../runtime/devices/webgpu/local.js";
import { DeviceError, type DeviceFault } from "../../runtime/errors.js";
import { Calls, RemoteError } from "./calls.js";

type Later<T> = T | Promise<T>;
/** What a page does for a test. The first argument of most is the host's number. */
export type ServedByPage = {
  echo(x: unknown): unknown;
  openGpu(request: HostRequest): Promise<Either<GpuFault, { readonly id: number; readonly info: HostInfo }>>;
  buffers(id: number, bytes: readonly number[], what: string): Promise<Either<GpuFault, readonly number[]>>;
  free(id: number, buffers: readonly number[]): Later<void>;
  pipelines(id: number, specs: readonly PipelineSpec[]): Promise<Either<GpuFault, readonly number[]>>;
  release(id: number, pipelines: readonly number[]): Later<void>;
  prepare(id: number, list: DispatchList): Promise<Either<GpuFault, number>>;
  drop(id: number, list: number): Later<void>;
  submit(id: number, job: GpuJob): Promise<Either<GpuFault, GpuDone>>;
  destroyGpu(id: number): Later<void>;

  openGpujs(mode: GpujsMode): Promise<Either<DeviceFault, number>>;
  alloc(id: number, elements: readonly number[]): Promise<readonly number[]>;
  read(id: number, memory: number): Promise<Float32Array>;
  write(id: number, memory: number, values: Float32Array): Promise<void>;
  freeMemories(id: number, memories: readonly number[]): Promise<void>;
  open(id: number, program: GpujsProgram): Promise<number>;
  run(id: number, program: number, call: GpujsCall): Promise<GpujsResult>;
  close(id: number, program: number): Promise<void>;
  destroyGpujs(id: number): Promise<void>;
};
/** What a test does for its page. */
export type ServedByTest = { lost(id: number, fault: LostFault): void };

export class Page {
  readonly #lost = new Map<number, (fault: LostFault) => void>();
  readonly #socket: WebSocket;
  readonly #calls: Calls;
  constructor(socket: WebSocket) {
    this.#socket = socket;
    const served: ServedByTest = { lost: (id, fault) => this.#lost.get(id)?.(fault) };
    this.#calls = new Calls((bytes) => socket.send(bytes), served);
    socket.on("message", (data: Buffer) => void this.#calls.take(data));
    socket.on("error", (e) => this.#calls.close(e));
    socket.on("close", (_, why) => this.#calls.close(new Error(`the page is closed${why.length > 0 ? `: ${why.toString()}` : ""}`)));
  }
  call<F extends keyof ServedByPage>(f: F, ...args: Parameters<ServedByPage[F]>): Promise<Awaited<ReturnType<ServedByPage[F]>>> {
    return this.#calls.call(f, ...args) as Promise<Awaited<ReturnType<ServedByPage[F]>>>; // the page serves this very type
  }
  /** What nobody waits for. If the page is gone, so is what it was about. */
  tell<F extends keyof ServedByPage>(f: F, ...args: Parameters<ServedByPage[F]>): void {
    this.call(f, ...args).catch(() => undefined);
  }

  /** A device of the page's WebGPU. */
  async gpu(request: HostRequest = {}): Promise<Either<GpuFault, GpuHost>> {
    const opened = await this.call("openGpu", request);
    if (isLeft(opened)) return opened;
    const { id, info } = opened.right;
    const lost = new Promise<LostFault>((done) => void this.#lost.set(id, done));
    return right({
      info,
      lost,
      buffers: (bytes, what) => this.call("buffers", id, bytes, what),
      free: (buffers) => this.tell("free", id, buffers),
      pipelines: (specs) => this.call("pipelines", id, specs),
      release: (pipelines) => this.tell("release", id, pipelines),
      prepare: (list) => this.call("prepare", id, list),
      drop: (list) => this.tell("drop", id, list),
      submit: (job) => this.call("submit", id, job),
      destroy: () => this.tell("destroyGpu", id),
    });
  }
  /** gpu.js in the page. */
  async gpujs(mode: GpujsMode): Promise<Either<DeviceError, GpujsHost>> {
    const opened = await this.call("openGpujs", mode);
    if (isLeft(opened)) return left(new DeviceError(opened.left));
    const id = opened.right;
    /** What the page's host throws is a device's error again. */
    const call = async <F extends keyof ServedByPage>(f: F, ...args: Parameters<ServedByPage[F]>): Promise<Awaited<ReturnType<ServedByPage[F]>>> => {
      try {
        return await this.call(f, ...args);
      } catch (e) {
        if (e instanceof RemoteError && e.fault !== null) throw new DeviceError(e.fault as DeviceFault); // the page's host throws no other
        throw e;
      }
    };
    return right({
      mode,
      alloc: (elements) => call("alloc", id, elements),
      read: (memory) => call("read", id, memory),
      write: (memory, values) => call("write", id, memory, values),
      free: (memories) => call("freeMemories", id, memories),
      open: (program) => call("open", id, program),
      run: (program, given) => call("run", id, program, given),
      close: (program) => call("close", id, program),
      destroy: () => call("destroyGpujs", id),
    });
  }
  close(): void {
    this.#socket.close();
  }
}

/** A page of its own. */
export async function openPage(): Promise<Page> {
  const url = inject("pages");
  if (!url) throw new Error("there is no browser: ask for it with needs()");
  const socket = new WebSocket(url, { maxPayload: 2 ** 30, perMessageDeflate: false });
  await new Promise<void>((done, fail) => {
    socket.once("open", done);
    socket.once("error", fail);
  });
  return new Page(socket);
}
let shared: Promise<Page> | undefined;
/** This process's page. */
export const page = (): Promise<Page> => {
  shared ??= openPage();
  return shared;
};
