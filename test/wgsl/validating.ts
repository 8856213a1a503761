// A device that computes nothing: each plan is compiled for several adapters, and each shader validated by Dawn (Tint, with its
// uniformity analysis). So any program that a session compiles is a test of the WGSL target.
import { isLeft } from "fp-ts/lib/Either.js";
import { elements } from "../../compiler/lower/expr.js";
import type { Plan } from "../../compiler/plan.js";
import { guaranteed, lowering, type WgslLimits, type WgslProgram, wgsl } from "../../compiler/targets/wgsl/index.js";
import { compiledBackend } from "../../runtime/backend.js";
import type { Device, DeviceState, Executable, HostArray, StateSpec } from "../../runtime/device.js";
import { Session } from "../../runtime/session.js";
import { type Validator, validator } from "./dawn.js";

/** Adapters with the default limits, and what they offer beside. */
export const adapters: readonly { readonly name: string; readonly limits: WgslLimits }[] = [
  { name: "defaults", limits: guaranteed },
  { name: "f16 and subgroups", limits: { ...guaranteed, f16: true, subgroups: { min: 4, max: 128 } } },
];

const zeros = (dtype: StateSpec["dtype"], n: number): HostArray =>
  dtype === "i32" ? new Int32Array(n) : dtype === "bool" ? new Uint8Array(n) : new Float32Array(n);

class State implements DeviceState {
  readonly #values = new Map<string, HostArray>();
  constructor(specs: readonly StateSpec[]) {
    void this.extend(specs);
  }
  async extend(specs: readonly StateSpec[]): Promise<void> {
    for (const s of specs) this.#values.set(s.path, zeros(s.dtype, s.elements).fill(1)); // a rate is derived from no norm of zero
  }
  async read(path: string): Promise<HostArray> {
    return this.#values.get(path) as HostArray;
  }
  async write(): Promise<void> {}
  async draw(): Promise<boolean> {
    return true;
  }
  [Symbol.dispose](): void {}
}

export class ValidatingDevice implements Device {
  readonly name = "native";
  readonly hardware = "none";
  readonly lowering = lowering;
  /** What is wrong, by program and adapter. */
  readonly problems: string[] = [];
  readonly programs = undefined;
  /** What each plan became on the first adapter. */
  readonly compiled: { readonly plan: Plan; readonly program: WgslProgram }[] = [];
  constructor(readonly validators: readonly Validator[]) {}

  async alloc(state: readonly StateSpec[]): Promise<DeviceState> {
    return new State(state);
  }
  async compile(plan: Plan): Promise<Executable> {
    for (const [i, { name, limits }] of adapters.entries()) {
      const made = wgsl(limits).compile(plan);
      if (isLeft(made)) {
        this.problems.push(`${plan.name}, ${name}: ${made.left.message}`);
        continue;
      }
      if (i === 0) this.compiled.push({ plan, program: made.right });
      for (const p of await (this.validators[i] as Validator).problems(made.right)) this.problems.push(`${plan.name}, ${name}: ${p}`);
    }
    return {
      kernels: [],
      run: async () => Object.fromEntries(Object.entries(plan.outputs).map(([name, b]) => [name, zeros(b.dtype, elements(b))])),
      [Symbol.dispose]: () => {},
    };
  }
  [Symbol.dispose](): void {}
}
export const sessionOn = (device: ValidatingDevice): Session => new Session(compiledBackend(device, 1));
export const validators = (): Promise<readonly Validator[]> =>
  Promise.all(
    adapters.map(({ limits }) => validator([...(limits.f16 ? ["shader-f16" as const] : []), ...(limits.subgroups ? ["subgroups" as const] : [])])),
  );
