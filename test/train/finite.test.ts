// What is not finite, or begins so that it never moves, is an error that names the step and the weight, on every device.
import { describe, expect, test } from "vitest";
import {
  crossEntropy,
  DivergedError,
  deriveRates,
  dot,
  each,
  find,
  input,
  MallardError,
  map,
  mean,
  model,
  type Optimizer,
  openSession,
  pointwise,
  RuleError,
  rename,
  type Scalar,
  type Session,
  stepsOf,
  type Tree,
  train,
  weight,
} from "../../index.js";
import { adamw, causal, decoder, fixed, muon, quack, sgd, warmup } from "../../models/index.js";
import { needs } from "../require.js";
import { value } from "./fixtures.js";

const sizes = { model: 16, layer: 2, head: 2, dim: 8, ff: 24, vocab: 11 };
/** Attention whose keys begin at a deviation of one's choice. */
const attention = (keys: number) =>
  model(
    {
      wq: weight({ model: 16 }, { head: 2, dim: 8 }),
      wk: weight({ model: 16 }, { head: 2, dim: 8 }, keys === 0 ? { fill: 0 } : { std: keys }),
      wv: weight({ model: 16 }, { head: 2, value: 8 }),
      wo: weight({ head: 2, value: 8 }, { model: 16 }),
    },
    { x: "time model" },
    ({ wq, wk, wv, wo, x }) => {
      const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
      const o = causal({ q: dot(xi, wq, "model"), k: dot(xj, wk, "model"), v: dot(xj, wv, "model") });
      return rename(dot(o, wo, "head", "value"), { query: "time" });
    },
  );
const tokens = input({ batch: 3, time: 7 }, "i32");
const next = input({ batch: 3, time: 7 }, "i32");
const data = { tokens: Int32Array.from({ length: 21 }, (_, i) => (i * 5) % 11), next: Int32Array.from({ length: 21 }, (_, i) => (i * 5 + 5) % 11) };
type Place = Session | "js" | "native" | "gpujs";
const start = (device: Place, o: { readonly keys?: number; readonly optimizer?: Optimizer; readonly lr?: (t: Scalar) => Scalar } = {}) =>
  train({
    model: decoder(sizes, attention(o.keys ?? 0.02)),
    inputs: { tokens, next },
    loss: (f, x): Scalar => mean(crossEntropy(f({ tokens: x.tokens }), x.next, "vocab"), "batch", "time"),
    optimizer: o.optimizer ?? (quack(each({ "*": adamw() }), { tau: 1 }) as unknown as Optimizer), // its state's type is its own
    lr: o.lr ?? warmup(1e-2, 2),
    device,
  });
const thrown = async (f: () => unknown): Promise<unknown> => {
  try {
    await f();
  } catch (e) {
    return e;
  }
  throw new Error("nothing was thrown");
};
const devices = [
  "js",
  ...((await needs("compiler")) ? (["native"] as const) : []),
  ...((await needs("gpu.js")) ? (["gpujs"] as const) : []),
] as const;
const adam = each({ "*": adamw() });

describe.each(devices)("on %s", (device) => {
  test("a partner whose first values are zero is refused before the first step", async () => {
    const error = await thrown(() => start(device, { keys: 1e-200 })); // below what f32 holds
    expect(error).toBeInstanceOf(RuleError);
    const { what, hint } = error as RuleError;
    expect(what).toBe(
      "the rate of blocks.0.attention.wq, head 0 cannot be derived: its partner blocks.*.attention.wk begins at zero, and the rate would be zero for ever",
    );
    expect(hint).toContain("give blocks.*.attention.wk an initial deviation");
  });
  test("a head of a weight that became zero: its partner's rate, by layer and head", async () => {
    using session = value(await openSession(device, {}));
    using t = await start(session);
    await t.run(data);
    const wk = Float32Array.from(await session.read("blocks.*.attention.wk"));
    for (let i = 0; i < wk.length; i++) if (i >= wk.length / 2 && (i >> 3) % 2 === 1) wk[i] = 0; // the second layer's second head
    await session.write("blocks.*.attention.wk", wk);
    const error = await thrown(() => t.run(data));
    expect(error).toBeInstanceOf(DivergedError);
    expect(error).toMatchObject({ step: 2, weight: "blocks.1.attention.wq" });
    expect((error as DivergedError).what).toBe(
      "training diverged at step 2: the rate of blocks.1.attention.wq, head 1 is not finite: the factor that it is multiplied by is Infinity",
    );
    expect(await thrown(() => t.run(data))).toBe(error); // the weights are of no use any more
  });
  test("a gradient: the weight nearest to the loss", async () => {
    // The second layer's normalised input is too large for the products of its feed-forward part's gradient alone.
    using session = value(await openSession(device, {}));
    using t = await start(session, { optimizer: adam });
    const g = Array.from(await session.read("blocks.*.n2.g"));
    const up = Array.from(await session.read("blocks.*.mlp.up"));
    await session.write(
      "blocks.*.n2.g",
      g.map((x, i) => (i < g.length / 2 ? x : device === "js" ? 1e160 : 1e22)),
    );
    await session.write(
      "blocks.*.mlp.up",
      up.map((x, i) => (i < up.length / 2 ? x : 0)),
    );
    const error = await thrown(() => t.run(data));
    expect(error).toMatchObject({ name: "DivergedError", step: 1, weight: "blocks.1.mlp.up" });
    expect((error as DivergedError).what).toMatch(/: the gradient of blocks\.1\.mlp\.up has the norm (Infinity|NaN)$/);
  });
  test("the loss, and the rate itself", async () => {
    using session = value(await openSession(device, {}));
    using t = await start(session, { optimizer: adam });
    await t.run(data);
    await session.write("last.g", new Float32Array(16).fill(Number.NaN));
    expect(await thrown(() => t.run(data))).toMatchObject({ name: "DivergedError", step: 2, what: "training diverged at step 2: the loss is NaN" });
    using u = await start(device, { optimizer: adam, lr: (t): Scalar => map(t, (t) => Math.log(1.5 - t)) });
    await u.run(data);
    expect(await thrown(() => u.run(data))).toMatchObject({ step: 2, weight: null, what: "training diverged at step 2: the rate is NaN" });
    // Asked for before the first has ended, the later ones throw what the first of them throws.
    using v = await start(device, { optimizer: adam, lr: (t): Scalar => map(t, (t) => Math.log(2.5 - t)) });
    const ends = await Promise.allSettled([1, 2, 3, 4].map(() => v.run(data)));
    expect(ends.map((e) => (e.status === "rejected" ? e.reason : null))).toEqual([
      null,
      null,
      expect.objectContaining({ step: 3 }),
      expect.objectContaining({ step: 3 }),
    ]);
  });
});

describe("before anything is compiled", () => {
  test("a partner that is declared to begin at zero", async () => {
    const error = await thrown(() => start("js", { keys: 0 }));
    expect(error).toBeInstanceOf(RuleError);
    expect((error as RuleError).what).toMatch(/weight "blocks\.\*\.attention\.wk" begins at zero/);
  });
  test.each([
    ["τ of 0", () => quack(adam, { tau: 0 }), /quack: τ is 0/],
    ["τ below 0", () => quack(adam, { tau: -1 }), /quack: τ is -1/],
    ["τ that is no number", () => quack(adam, { tau: Number.NaN }), /quack: τ is NaN/],
    ["a fixed τ of 0", () => fixed(adam, { tau: 0 }), /fixed: τ is 0/],
    [
      "a rule that forgets its state",
      () => pointwise({ m: 0 }, {}, (({ w, g, lr }: { w: number; g: number; lr: number }) => ({ w: w - lr * g })) as never),
      /the rule forgets its state "m"/,
    ],
  ] as const)("%s", async (_, make, message) => {
    const error = await thrown(make);
    expect(error).toBeInstanceOf(MallardError);
    expect((error as MallardError).what).toMatch(message);
  });
  test.each([
    ["a pattern without match", () => each({ "blocks.*.atention.*": muon(), "*": adamw() }), /pattern "blocks\.\*\.atention\.\*" matches no weight/],
    ["a weight without a rule", () => each({ "blocks.*": adamw() }), /no rule for weight "embed"/],
  ] as const)("%s", async (_, optimizer, message) => {
    const error = await thrown(() => start("js", { optimizer: optimizer() }));
    expect(error).toBeInstanceOf(RuleError);
    expect((error as RuleError).what).toMatch(message);
  });
  test("SGD has no bound to make a budget of, until its step is clipped", async () => {
    const lm = decoder(sizes, attention(0.02));
    const rates = deriveRates(find(lm.bound({ tokens }), "logits"));
    const error = await thrown(() => stepsOf(each({ "*": sgd() }), lm.params as unknown as Tree, rates, "frobenius"));
    expect(error).toBeInstanceOf(RuleError);
    expect((error as RuleError).message).toMatch(/"blocks\.\*\.attention\.wq" has no bound.*\n.*clip the step/s);
  });
});
