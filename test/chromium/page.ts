// In the page: WebGPU and gpu.js behind their devices' narrow interfaces, for the test whose number is in the address.
import { isLeft, left, right } from "fp-ts/lib/Either.js";
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

let last = 0;
const hosts = new Map<number, GpuHost>();
const hostOf = (id: number): GpuHost => {
  const host = hosts.get(id);
  if (!host) throw new Error(`there is no host ${id}`);
  return host;
};

const served: ServedByPage = {
  echo: (x) => x,
  openGpu: async (request) => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return left({ kind: "refused", what: "an adapter", message: "this browser gives none" });
    const made = await openHost(adapter, request);
    if (isLeft(made)) return made;
    const id = ++last;
    hosts.set(id, made.right);
    made.right.lost.then((fault) => void calls.call("lost", id, fault));
    return right({ id, info: made.right.info });
  },
  buffers: (id, bytes, what) => hostOf(id).buffers(bytes, what),
  free: (id, buffers) => hostOf(id).free(buffers),
  pipelines: (id, specs) => hostOf(id).pipelines(specs),
  release: (id, pipelines) => hostOf(id).release(pipelines),
  prepare: (id, list) => hostOf(id).prepare(list),
  drop: (id, list) => hostOf(id).drop(list),
  submit: (id, job) => hostOf(id).submit(job),
  destroyGpu: (id) => hostOf(id).destroy(),
};

const socket = new WebSocket(`ws://${location.host}/page${location.search}`);
socket.binaryType = "arraybuffer";
const calls = new Calls((bytes) => socket.send(bytes), served);
socket.onmessage = ({ data }) => void calls.take(new Uint8Array(data as ArrayBuffer)); // of a binary socket
socket.onclose = () => calls.close(new Error("the test is gone"));
