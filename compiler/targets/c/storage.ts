// How each buffer lies in memory. Arithmetic is f32: every float format is converted on load and store. Tables hold
// what was computed once in f64, and are stored as f32 whatever their dtype says, unless they hold integers or conditions.
import type { Buffer } from "../../lower/expr.js";

export type Storage = "f32" | "f64" | "bf16" | "f16" | "i32" | "bool";
export const storageOf = (b: Buffer): Storage => (b.role === "table" && b.dtype !== "i32" && b.dtype !== "bool" ? "f32" : b.dtype);

const bytes: { readonly [S in Storage]: number } = { f32: 4, f64: 8, bf16: 2, f16: 2, i32: 4, bool: 1 };
const types: { readonly [S in Storage]: string } = {
  f32: "float",
  f64: "double",
  bf16: "uint16_t",
  f16: "uint16_t",
  i32: "int32_t",
  bool: "uint8_t",
};
export const bytesOf = (s: Storage): number => bytes[s];
export const cType = (s: Storage): string => types[s];
