// How each buffer lies in GPU memory. f32 and i32 are words; bf16 and f16 are two to a word (f16 by itself where the adapter
// has it), the even one low; conditions are bytes, four to a word. Tables hold what was computed once in f64, and are
// stored as f32 whatever their dtype says, unless they hold integers or conditions.
import type { DType } from "../../../dsl/node.js";
import { type Buffer, elements } from "../../lower/expr.js";

export type Storage = "f32" | "i32" | "bf16" | "f16" | "bool";
export function storageOf(b: Buffer): Storage {
  if (b.role === "table" && b.dtype !== "i32" && b.dtype !== "bool") return "f32";
  if (b.dtype === "f64") throw new Error(`buffer ${b.name} is of f64, which the js device alone has`);
  return b.dtype;
}
/** Elements in a word. */
export const perWord: { readonly [S in Storage]: 1 | 2 | 4 } = { f32: 1, i32: 1, bf16: 2, f16: 2, bool: 4 };

/** Bytes of so many elements: whole words. */
export const storedBytes = (dtype: Exclude<DType, "f64">, count: number): number => 4 * Math.ceil(count / perWord[dtype]);
export const bytesIn = (b: Buffer): number => storedBytes(storageOf(b), elements(b));
