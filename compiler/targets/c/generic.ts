// C that is written once and compiled for one number, for eight and for W: as many as the machine's vectors hold, sixteen
// or eight (wide.ts). In a template F, I, U, D and L stand for the float, int32, uint32, double and int64 type of the form,
// B for its conditions, and `$` for its suffix (1, 8 or W). Since all forms are the same sequence of exactly rounded
// operations, a loop has the same bits for any width, its scalar tail included. Conditions are compared by name (lt$, eq$
// on floats, ilt$ … on ints): where vectors are sixteen wide they are a mask's bits and no vector.
interface Form {
  readonly F: string;
  readonly I: string;
  readonly U: string;
  readonly D: string;
  readonly L: string;
  readonly B: string;
  readonly suffix: string;
}
const one: Form = { F: "float", I: "int32_t", U: "uint32_t", D: "double", L: "int64_t", B: "int32_t", suffix: "1" };
const eight: Form = { F: "f32x8", I: "i32x8", U: "u32x8", D: "f64x8", L: "i64x8", B: "i32x8", suffix: "8" };
/** Doubles of sixteen lanes are no vector: such templates are `halved`. */
const wide: Form = { F: "f32xW", I: "i32xW", U: "u32xW", D: "", L: "", B: "bW", suffix: "W" };

const as = (template: string, form: Form) =>
  template.replace(/\b[FIUDLB]\b/g, (t) => form[t as "F" | "I" | "U" | "D" | "L" | "B"]).replaceAll("$", form.suffix);
/** The functions that a template defines, and their parameters. */
const defined = (template: string) =>
  [...template.matchAll(/^(?:INLINE|static inline) (\w+) (\w+)\$\(([^)]*)\) \{/gm)].map((m) => ({
    result: m[1] as string,
    name: m[2] as string,
    parameters: (m[3] as string).split(", "),
  }));
const aliases = (template: string) =>
  defined(template)
    .map(({ name }) => `#define ${name}W ${name}8\n`)
    .join("");

/** The form of one number alone. */
export const scalar = (template: string): string => as(template, one);
export const generic = (template: string): string =>
  `${as(template, one)}${as(template, eight)}#ifdef WIDE${as(template, wide)}#else\n${aliases(template)}#endif\n`;

/** A template that computes with doubles: its sixteen-wide functions on floats are two of eight. */
export const halved = (template: string): string => {
  const halves = defined(template)
    .filter(({ result }) => result === "F")
    .map(({ name, parameters }) => {
      const names = parameters.map((p) => p.split(" ").at(-1) as string);
      const half = (which: string) => `${name}8(${names.map((n) => `${which}(${n})`).join(", ")})`;
      return `static inline F ${name}$(${parameters.join(", ")}) { return joinW(${half("loW")}, ${half("hiW")}); }\n`;
    });
  return `${as(template, one)}${as(template, eight)}#ifdef WIDE\n${as(halves.join(""), wide)}#else\n${aliases(template)}#endif\n`;
};
