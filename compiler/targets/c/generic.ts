// C that is written once and compiled twice: for one number and for eight. In a template F, I, U, D and L stand for the
// float, int32, uint32, double and int64 type of the form, and `$` for its suffix (1 or 8). Since both forms are the
// same sequence of exactly rounded operations, a loop's scalar tail has the same bits as its vector body.
const forms = [
  { F: "float", I: "int32_t", U: "uint32_t", D: "double", L: "int64_t", suffix: "1" },
  { F: "f32x8", I: "i32x8", U: "u32x8", D: "f64x8", L: "i64x8", suffix: "8" },
] as const;

export const generic = (template: string): string =>
  forms.map((form) => template.replace(/\b[FIUDL]\b/g, (t) => form[t as "F" | "I" | "U" | "D" | "L"]).replaceAll("$", form.suffix)).join("");
