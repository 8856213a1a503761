// A page in Chromium as a test has it: WebGPU and gpu.js there, behind the interfaces that the devices here drive. A process
// has one page, opened at the first use; it closes with the process.
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { inject } from "vitest";
import { WebSocket } from "ws";
import type { DispatchList, GpuDone, GpuFault, GpuHost, GpuJob, HostInfo, LostFault, PipelineSpec } from "../../runtime/devices/webgpu/host.js";
import type { HostRequest } from "../../runtime/devices/webgpu/local.js";
import { Calls } from "./calls.js";

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
