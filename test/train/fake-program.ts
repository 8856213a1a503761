// A training program without kernels: eight weights that each step moves by amounts read off the batch, so that every
// byte of every batch and every rate leaves its mark on the weights. It notes what it was asked.
import { right } from "fp-ts/lib/Either.js";
import type { Batch } from "../../runtime/data/batches.js";
import { DeviceError } from "../../runtime/errors.js";
import type { Arrays, TrainingProgram } from "../../runtime/train/program.js";

export interface Fake extends TrainingProgram {
  readonly asked: { readonly t: number; readonly lr: number; readonly tokens: readonly number[] }[];
  readonly decoded: { readonly at: number; readonly tokens: readonly number[] }[];
}
export interface FakeOptions {
  /** From this step on the loss is NaN. */
  readonly nanLossAt?: number;
  /** At this step a gradient is not finite, though the loss is. */
  readonly faultAt?: number;
  /** The update of this step makes a weight NaN. */
  readonly nanWeightAt?: number;
  readonly stepMs?: number;
  readonly onStep?: (t: number) => void;
  /** Steps that may be asked for while one is under way: results come back some turns late then. */
  readonly ahead?: number;
  /** At this step the device is lost: it and all after it fail. */
  readonly lostAt?: number;
}

const SIZE = 8;
export function fakeProgram(options: FakeOptions = {}): Fake {
  const w = Float32Array.from({ length: SIZE }, (_, i) => i / SIZE);
  const m = new Float32Array(SIZE);
  const asked: { t: number; lr: number; tokens: number[] }[] = [];
  const decoded: { at: number; tokens: number[] }[] = [];
  const moment = (b: Batch, i: number): number =>
    b.tokens.reduce((sum, x, k) => sum + ((x * (k + 1)) % 251) * (k % SIZE === i ? 1 : 0), 0) / b.tokens.length;
  const lossOf = (b: Batch): number => Math.fround(w.reduce((sum, x, i) => sum + Math.abs(x - moment(b, i)), 0));
  const named = (data: Float32Array): Arrays => new Map([["layer.w", { data: data.slice(), shape: [2, SIZE / 2] }]]);
  return {
    asked,
    decoded,
    info: {
      parameters: SIZE,
      device: "fake",
      hardware: "1 thread",
      bytes: { params: 4 * SIZE, state: 4 * SIZE },
      kernels: 0,
      compileMs: 0,
      ahead: options.ahead,
    },
    async step(batch, lr, t) {
      options.onStep?.(t);
      if (options.stepMs !== undefined) await new Promise((done) => setTimeout(done, options.stepMs));
      if (options.lostAt !== undefined && t >= options.lostAt)
        throw new DeviceError({ kind: "DeviceLost", device: "fake", reason: "unknown", message: "the driver was reset" });
      asked.push({ t, lr, tokens: Array.from(batch.tokens) });
      const loss = options.nanLossAt !== undefined && t >= options.nanLossAt ? Number.NaN : lossOf(batch);
      for (let i = 0; i < SIZE; i++) {
        m[i] = 0.9 * m[i]! + 0.1 * moment(batch, i);
        w[i] = w[i]! - lr * m[i]!;
      }
      if (options.nanWeightAt === t) w[3] = Number.NaN;
      const fault = options.faultAt === t ? { fault: { what: "the gradient of layer.w has the norm NaN", weight: "layer.w" } } : {};
      const reached = Float32Array.of(w[0]!, w[1]!, w[2]!, w[3]!);
      const moment0 = m[0]!;
      for (let turn = 0; turn < (options.ahead ?? 0); turn++) await new Promise((done) => setImmediate(done));
      const steepest = { weight: "layer.w", norm: 1234.5 };
      return { loss, maxLogit: reached[0]!, maxLogits: reached, gradNorm: moment0, steepest, ...fault };
    },
    evaluate: async (batch) => lossOf(batch),
    probe: async () => ({ logits: Float32Array.of(w[0]!, -Infinity, w[1]!), inputs: w.slice() }),
    // The frozen change is that of the first weight alone.
    probeFrozen: async (inputs) => Float32Array.of(w[0]!, -Infinity, inputs[1]!),
    async decode(tokens, at) {
      decoded.push({ at, tokens: Array.from(tokens) });
      const logits = new Float32Array(256);
      logits[(tokens[tokens.length - 1]! + 1) % 256] = 10;
      return logits;
    },
    weights: async () => named(w),
    state: async () => named(m),
    async load(weights, state) {
      w.set(weights.get("layer.w")!.data);
      if (state !== null) m.set(state.get("layer.w")!.data);
      return right(undefined);
    },
    [Symbol.dispose]() {},
  };
}
