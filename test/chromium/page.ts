// In the page: WebGPU and gpu.js behind their devices' narrow interfaces, for the test whose number is in the address.
import { isLeft, left, right } from "fp-ts/lib/Either.js";
import type { GpujsHost } from "../../runtime/devices/gpujs/host.js";
import { localHost } from "../../runtime/devices/gpujs/local.js";
import type { Gpu } from "../../runtime/devices/webgpu/gpu.js";
import type { GpuHost } from "../../runtime/devices/webgpu/host.js";
import { openHost } from "../../runtime/devices/webgpu/local.js";
import { Calls } from "./calls.js";
import type { ServedByPage } from "./remote.js";

/** Node's types have neither. */
const { location, navigator } = globalThis as unknown as {
  readonly location: { readonly host: string; readonly search: string };
  readonly navigator: { readonly gpu?: Gpu };
};

class Table<T> {
  readonly #entries = new Map<number, T>();
  #last = 0;
  add(x: T): number {
    this.#entries.set(++this.#last, x);
    return this.#last;
  }
  of(id: number): T {
    const x = this.#entries.get(id);
    if (x === undefined) throw new Error(`there is no host ${id}`);
    return x;
  }
}
const gpus = new Table<GpuHost>();
const gpujs = new Table<GpujsHost>();

const served: ServedByPage = {
  echo: (x) => x,
  openGpu: async (request) => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return left({ kind: "refused", what: "an adapter", message: "this browser gives none" });
    const made = await openHost(adapter, request);
    if (isLeft(made)) return made;
    const id = gpus.add(made.right);
    made.right.lost.then((fault) => void calls.call("lost", id, fault));
    return right({ id, info: made.right.info });
  },
  buffers: (id, bytes, what) => gpus.of(id).buffers(bytes, what),
  free: (id, buffers) => gpus.of(id).free(buffers),
  pipelines: (id, specs) => gpus.of(id).pipelines(specs),
  release: (id, pipelines) => gpus.of(id).release(pipelines),
  prepare: (id, list) => gpus.of(id).prepare(list),
  drop: (id, list) => gpus.of(id).drop(list),
  submit: (id, job) => gpus.of(id).submit(job),
  destroyGpu: (id) => gpus.of(id).destroy(),

  openGpujs: async (mode) => {
    const made = await localHost({ mode, load: () => import("gpu.js") });
    return isLeft(made) ? left(made.left.fault) : right(gpujs.add(made.right));
  },
  alloc: (id, elements) => gpujs.of(id).alloc(elements),
  read: (id, memory) => gpujs.of(id).read(memory),
  write: (id, memory, values) => gpujs.of(id).write(memory, values),
  freeMemories: (id, memories) => gpujs.of(id).free(memories),
  open: (id, program) => gpujs.of(id).open(program),
  run: (id, program, call) => gpujs.of(id).run(program, call),
  close: (id, program) => gpujs.of(id).close(program),
  destroyGpujs: (id) => gpujs.of(id).destroy(),
};

const socket = new WebSocket(`ws://${location.host}/page${location.search}`);
socket.binaryType = "arraybuffer";
const calls = new Calls((bytes) => socket.send(bytes), served);
socket.onmessage = ({ data }) => void calls.take(new Uint8Array(data as ArrayBuffer)); // of a binary socket
socket.onclose = () => calls.close(new Error("the test is gone"));
