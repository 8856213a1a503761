// WebGPU devices for tests: on the software adapter, with the host at hand, so that a test can take the GPU away, lower its
// limits or watch what is asked of it.
import { isLeft } from "fp-ts/lib/Either.js";
import { compiledBackend } from "../../runtime/backend.js";
import { findAdapter } from "../../runtime/devices/webgpu/adapter.js";
import { createWebgpuOn, type WebgpuDevice } from "../../runtime/devices/webgpu/index.js";
import { type HostRequest, type LocalHost, openHost } from "../../runtime/devices/webgpu/local.js";
import { Session } from "../../runtime/session.js";
import { needs } from "../require.js";

/** The software adapter is Chromium's. */
export const missing = !(await needs("dawn", "browser"));

export interface Opened {
  readonly host: LocalHost;
  readonly device: WebgpuDevice;
  readonly session: Session;
  [Symbol.dispose](): void;
}
export async function openHere(request: HostRequest = {}): Promise<Opened> {
  const found = await findAdapter("software");
  if (isLeft(found)) throw found.left;
  const host = await openHost(found.right.adapter, request, found.right.from);
  if (isLeft(host)) throw new Error(host.left.message);
  const device = createWebgpuOn(host.right);
  const session = new Session(compiledBackend(device, 1));
  return { host: host.right, device, session, [Symbol.dispose]: () => session[Symbol.dispose]() };
}

/** Every device that this process asks Dawn for from now on, in order. */
export async function devicesMade(): Promise<readonly { destroy(): void }[]> {
  const { globals } = (await import("webgpu")) as unknown as Dawn; // its type says no more than "object"
  const prototype = globals.GPUAdapter?.prototype;
  if (!prototype) throw new Error("the package webgpu has no GPUAdapter");
  const made: { destroy(): void }[] = [];
  const ask = prototype.requestDevice;
  prototype.requestDevice = async function (this: unknown, ...of: unknown[]) {
    const device = await ask.apply(this, of);
    made.push(device);
    return device;
  };
  return made;
}
interface Dawn {
  readonly globals: { readonly GPUAdapter?: { readonly prototype: { requestDevice: Ask } } };
}
type Ask = (this: unknown, ...of: unknown[]) => Promise<{ destroy(): void }>;
