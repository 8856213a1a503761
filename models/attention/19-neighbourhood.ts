// 2-D neighbourhood of radius r, centre clamped to the image (NATTEN): the image keeps its two axes
import { dot, formula, map, scale, size, softmax } from "../../dsl/index.js";

export const neighbourhood = (r: number) =>
  formula({ q: "y x dim", k: "ky kx dim", v: "ky kx value" }, ({ q, k, v }) => {
    const s = map({ qk: scale(dot(q, k, "dim"), size(q, "dim") ** -0.5), r }, ({ qk, r }, { y, x, ky, kx }, { y: h, x: w }) => {
      const cy = Math.min(Math.max(y, r), h - 1 - r),
        cx = Math.min(Math.max(x, r), w - 1 - r);
      return Math.abs(ky - cy) <= r && Math.abs(kx - cx) <= r ? qk : -Infinity;
    });
    return dot(softmax(s, "ky", "kx"), v, "ky", "kx");
  });
