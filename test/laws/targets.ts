// The targets that the laws run over: every registered device but the oracle. A new device is tested by being registered;
// what it needs of the machine is its line here.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLeft } from "fp-ts/lib/Either.js";
import { afterAll } from "vitest";
import { type DeviceName, type DeviceOptions, devices } from "../../runtime/devices/index.js";
import { openSession } from "../../runtime/program.js";
import type { Session } from "../../runtime/session.js";
import { type Need, needs } from "../require.js";

export type TargetName = Exclude<DeviceName, "js">;
const wants: { readonly [T in TargetName]: Need } = { native: "compiler", gpujs: "gpu.js" };
export const allTargets = (Object.keys(devices) as DeviceName[]).filter((d): d is TargetName => d !== "js");
/** Those that this machine can run; a line says why not, for the others. */
export const targets: readonly TargetName[] = await (async () => {
  const here: TargetName[] = [];
  for (const t of allTargets) if (await needs(wants[t])) here.push(t);
  return here;
})();

/** Kernels of random programs are of no use to anybody later. */
export const cacheDir = mkdtempSync(join(tmpdir(), "mallard-laws-"));
afterAll(() => rmSync(cacheDir, { recursive: true, force: true }));
export async function open(target: DeviceName, o: DeviceOptions = {}): Promise<Session> {
  const s = await openSession(target, { cacheDir, ...o });
  if (isLeft(s)) throw s.left;
  return s.right;
}
