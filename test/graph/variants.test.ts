// Gradients of whole attention variants whose derivatives take every road: buckets, taps, gathers, selections, prefix sums.
import { expect, it } from "vitest";
import * as variants from "../../models/attention/index.js";
import { compare, type Env, fill, input, numbers, worst } from "./harness.js";
import type { R } from "./loose.js";

const V = variants as R;
const [B, H, T, D] = [2, 2, 5, 4];
const q = { batch: B, head: H, query: T, dim: D };
const k = { batch: B, head: H, key: T, dim: D };
const v = { batch: B, head: H, key: T, value: 3 };
const cases: Record<string, readonly [R, Record<string, R>]> = {
  t5: [V.t5, { q, k, v, b: { head: H, bucket: 4 } }],
  multiToken: [V.multiToken, { q, k, v, theta: { head: H, a: 2, b: 3 } }],
  stickBreaking: [V.stickBreaking, { q, k, v }],
  forgetting: [V.forgetting, { q, k, v, logf: { batch: B, head: H, time: T } }],
  talkingHeads: [V.talkingHeads, { q, k, v, L: { head: H, map: 3 }, M: { map: 3, head: H } }],
  sinkLogit: [V.sinkLogit, { q, k, v, z: { head: H } }],
  retention: [V.retention, { q, k, v, gamma: { head: H } }],
  cosine: [V.cosine, { q, k, v, tau: { head: H }, b: { head: H, query: T, key: T } }],
  qkNorm: [V.qkNorm, { q, k, v, gq: { dim: D }, gk: { dim: D } }],
  simplicial: [V.simplicial, { q, k, k2: { batch: B, head: H, key2: 3, dim: D }, v, v2: { batch: B, head: H, key2: 3, value: 3 } }],
  groupedQuery: [V.groupedQuery, { q: { head: 4, query: T, dim: D }, k: { group: 2, key: T, dim: D }, v: { group: 2, key: T, value: 3 } }],
  neighbourhood: [V.neighbourhood(1), { q: { y: 3, x: 3, dim: D }, k: { ky: 3, kx: 3, dim: D }, v: { ky: 3, kx: 3, value: 2 } }],
  lightningIndexer: [
    V.lightningIndexer(3),
    {
      q,
      k: { batch: B, key: T, dim: D },
      v: { batch: B, key: T, value: 3 },
      qi: { batch: B, part: 2, query: T, idim: 3 },
      ki: { batch: B, key: T, idim: 3 },
      w: { batch: B, part: 2, query: T },
    },
  ],
  nativeSparse: [
    V.nativeSparse(2, 2, 3),
    {
      q: { group: 2, member: 2, query: 6, dim: D },
      k: { group: 2, key: 6, dim: D },
      v: { group: 2, key: 6, value: 3 },
      pool: { within: 2 },
      gate: { group: 2, member: 2, query: 6, branch: 3 },
    },
  ],
};
for (const [name, [formula, shapes]] of Object.entries(cases))
  it(name, () => {
    const random = numbers(name.length);
    const env: Env = new Map();
    const inputs = Object.fromEntries(Object.entries(shapes).map(([n, s]) => [n, input(s)]));
    // Decays and gates are positive numbers below 1.
    for (const [n, x] of Object.entries(inputs))
      env.set(
        x,
        fill(x, random).map((u) => (n === "gamma" ? 0.5 + u / 6 : u)),
      );
    const xs = Object.values(inputs);
    // A few elements of each input, the whole Jacobian's rows through them: the variants' own tests have the rest.
    expect(worst(compare(formula(inputs), xs, env, { sample: 6 }))).toBeLessThan(2e-7);
  });
