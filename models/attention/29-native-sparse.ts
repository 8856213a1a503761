// Native sparse attention (Yuan 2025), per key group: compressed, selected, window, gated
import { at, dot, formula, map, scale, size, softmax, split, stack, sum, top } from "../../dsl/index.js";
import { window } from "./06-window.js";

export const nativeSparse = (B: number, n: number, W: number) =>
  formula({ q: "member query dim", k: "key dim", v: "key value", pool: "within", gate: "member query branch" }, ({ q, k, v, pool, gate }) => {
    const blocks = { block: size(k, "key") / B, within: B },
      qd = scale(q, size(q, "dim") ** -0.5);
    const kb = split(k, "key", blocks),
      vb = split(v, "key", blocks);
    const sc = map({ s: dot(qd, dot(kb, pool, "within"), "dim"), B }, ({ s, B }, { query: i, block }) => ((block + 1) * B <= i + 1 ? s : -Infinity));
    const pc = softmax(sc, "block"),
      compressed = dot(pc, dot(vb, pool, "within"), "block");
    const { index: block } = top(sum(pc, "member"), "block", { slot: n }); // the heads of a group choose together
    const ss = map({ s: dot(qd, at(kb, { block }), "dim"), block, B }, ({ s, block, B }, { query: i, within }) =>
      block * B + within <= i ? s : -Infinity,
    );
    const selected = dot(softmax(ss, "slot", "within"), at(vb, { block }), "slot", "within");
    return dot(stack("branch", compressed, selected, window(W)({ q, k, v })), gate, "branch");
  });
