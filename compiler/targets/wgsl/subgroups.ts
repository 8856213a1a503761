// How WGSL writes what the invocations of a subgroup do together (`enable subgroups;`, where the adapter has the feature
// "subgroups"). Invocations are taken to lie in subgroups by their linear number in the workgroup, as every implementation has
// them: a mask below the least size of a subgroup then stays inside one, whatever its size is.
import type { DType } from "../../../dsl/node.js";

/** `other` = what the invocation whose number differs by `mask` has as `value`. */
export function exchange(dtype: DType, value: string, mask: number): string {
  return dtype === "bool" ? `(subgroupShuffleXor(u32(${value}), ${mask}u) != 0u)` : `subgroupShuffleXor(${value}, ${mask}u)`;
}
