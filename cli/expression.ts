// FILE#export: loads a user's module, TypeScript included, and finds an expression in it. An expression is a formula,
// whose inputs are made here with the sizes asked for or usual ones; or a record { inputs, out }, which has its own; or
// a compiled program.
//
// The module and this command must share one copy of the language, or handles of one would be foreign to the other:
// nothing is bundled or copied, the file is imported by its real path, and a source file of this very package is taken
// from its build.
import { existsSync, realpathSync } from "node:fs";
import { register } from "node:module";
import { join, relative, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { upTo } from "../index.js";
import { type Problem, problem, textOf } from "../trainer.js";
import { didYouMean } from "./suggest.js";
import { packageRoot } from "./version.js";

export interface FormulaLike {
  (inputs: Readonly<Record<string, unknown>>): unknown;
  /** Axes by input: "query dim", or the same with a dtype. */
  readonly inputs: Readonly<Record<string, string | { readonly spec: string; readonly dtype: string }>>;
}
export type Expression =
  | { readonly kind: "formula"; readonly formula: FormulaLike }
  | { readonly kind: "record"; readonly inputs: Readonly<Record<string, unknown>>; readonly out: unknown }
  | { readonly kind: "program"; readonly kernels: readonly { readonly name: string; readonly source: string }[] };

const FORM = "give FILE#export, such as attention.ts#causal";

export async function loadExpression(place: string): Promise<Either<Problem, Expression>> {
  const loaded = await loadExport(place);
  if (isLeft(loaded)) return loaded;
  const found = classify(loaded.right);
  if (found !== null) return right(found);
  return left({
    kind: "usage",
    message: `${place} is ${whatIs(loaded.right)}`,
    hint: "export a formula (of a function that makes one, its result: export const mine = window(256)), or a record { inputs, out }",
  });
}
export const whatIs = (value: unknown): string => (typeof value === "function" ? "a function, no formula" : `${describe(value)}, no expression`);

/** Whatever the module exports by that name. */
export async function loadExport(place: string): Promise<Either<Problem, unknown>> {
  const cut = place.lastIndexOf("#");
  if (cut < 0) return problem("usage", `"${place}" names no export`, FORM);
  const [file, name] = [place.slice(0, cut), place.slice(cut + 1)];
  if (file === "" || name === "") return problem("usage", `"${place}" lacks ${file === "" ? "a file" : "an export"}`, FORM);
  if (!existsSync(file)) return problem("usage", `there is no file ${resolve(file)}`, FORM);

  let module: Readonly<Record<string, unknown>>;
  try {
    module = await importModule(ownBuild(realpathSync(file)));
  } catch (thrown) {
    return problem(
      "expression",
      `${file} cannot be loaded: ${textOf(thrown)}`,
      "it must run as an ES module, with @mallard-lang/mallard installed where it stands",
    );
  }
  if (!(name in module)) {
    const names = Object.keys(module);
    const hint = names.length === 0 ? "export the expression: export const causal = formula(…)" : `it exports ${names.join(", ")}`;
    return problem("usage", `${file} has no export "${name}"${didYouMean(name, names)}`, hint);
  }
  return right(module[name]);
}

/** tsx reads TypeScript; registered without a namespace, so that modules are shared with this process. It takes a .ts
 *  file for CommonJS where no package.json says "module"; a second hook, asked first, makes it a module all the same,
 *  because a required copy of the language would be another one. */
async function importModule(path: string): Promise<Readonly<Record<string, unknown>>> {
  process.setSourceMapsEnabled(true); // places are read off stacks: they are those of what was written, not of what tsx made
  const { register: registerTsx } = await import("tsx/esm/api");
  const unregister = registerTsx();
  register(`data:text/javascript,${encodeURIComponent(TYPESCRIPT_IS_MODULES)}`);
  try {
    const module: Readonly<Record<string, unknown>> = await import(pathToFileURL(path).href);
    return module;
  } finally {
    await unregister();
  }
}
const TYPESCRIPT_IS_MODULES = `
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const typescript = /\\.tsx?(\\?|$)/.test(found.url) && !found.url.includes("/node_modules/");
  return typescript ? { ...found, format: "module" } : found;
}`;

function ownBuild(path: string): string {
  const root = realpathSync(packageRoot());
  const inside = relative(root, path);
  if (inside.startsWith("..") || inside.startsWith(`dist${sep}`) || inside.startsWith(`node_modules${sep}`) || !path.endsWith(".ts")) return path;
  const built = join(root, "dist", inside.replace(/\.ts$/, ".js"));
  return existsSync(built) ? built : path;
}

export function classify(value: unknown): Expression | null {
  if (isFormula(value)) return { kind: "formula", formula: value };
  if (typeof value !== "object" || value === null) return null;
  if ("kernels" in value && Array.isArray(value.kernels)) return { kind: "program", kernels: value.kernels };
  if ("inputs" in value && "out" in value && typeof value.inputs === "object" && value.inputs !== null) {
    return { kind: "record", inputs: { ...value.inputs }, out: value.out };
  }
  return null;
}
export const isFormula = (value: unknown): value is FormulaLike =>
  typeof value === "function" && "inputs" in value && typeof value.inputs === "object" && value.inputs !== null;
const describe = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;

// ─── sizes ───────────────────────────────────────────────────────────────────────────────────────────

/** What `upTo` gives stands among them as a number too, as it does in the language. */
export type Sizes = Readonly<Record<string, number>>;
/** The greatest size, where a run tells it. */
export const greatest = (size: unknown): number =>
  typeof size === "number" ? size : typeof size === "object" && size !== null && "max" in size && typeof size.max === "number" ? size.max : 0;
/** Sizes for axes that nobody gave one. */
const USUAL: Sizes = { batch: 2, head: 8, group: 2, query: 128, key: 128, time: 128, dim: 64, value: 64, model: 256, ff: 1024, vocab: 256 };
const OTHERWISE = 16;

/** Reads 'q=query:128,dim:64 m=head:8': by input, its axes in order with their sizes. `query:..128` is a size of at most 128 that
 *  each run tells. */
export function parseInputs(text: string): Either<Problem, Readonly<Record<string, Sizes>>> {
  const inputs: Record<string, Sizes> = {};
  const atRunTime = new Map<string, number>(); // one name, one extent
  for (const item of text.split(/\s+/).filter((s) => s !== "")) {
    const parts = /^([^=]+)=(.*)$/.exec(item);
    const axes: [string, number][] = [];
    for (const axis of (parts?.[2] ?? "").split(",").filter((s) => s !== "")) {
      const size = /^([\p{ID_Start}_$][\p{ID_Continue}$]*):(\.\.)?(\d+)$/u.exec(axis);
      if (size === null)
        return problem("usage", `--inputs: "${axis}" in "${item}" is no axis with a size`, "write each as axis:size, such as q=query:128,dim:64");
      const [name, most] = [size[1]!, Number(size[3])];
      if (size[2] === undefined) axes.push([name, most]);
      else {
        const extent = atRunTime.get(`${name} ${most}`) ?? upTo(most, name);
        atRunTime.set(`${name} ${most}`, extent);
        axes.push([name, extent]);
      }
    }
    if (parts === null) return problem("usage", `--inputs: "${item}" names no input`, "write name=axis:size,axis:size, such as q=query:128,dim:64");
    inputs[parts[1]!] = Object.fromEntries(axes);
  }
  return right(inputs);
}

/** The axes of each of a formula's inputs: as given, else the formula's own. One name has one size throughout. */
export function inputSizes(formula: FormulaLike, given: Readonly<Record<string, Sizes>>): Either<Problem, Readonly<Record<string, Sizes>>> {
  const names = Object.keys(formula.inputs);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    return problem("usage", `--inputs: the formula has no input "${unknown}"${didYouMean(unknown, names)}`, `its inputs are ${names.join(", ")}`);
  }
  const known: Sizes = Object.assign({}, ...Object.values(given));
  const sizes: Record<string, Sizes> = {};
  for (const [name, spec] of Object.entries(formula.inputs)) {
    const axes = (typeof spec === "string" ? spec : spec.spec).split(/\s+/).filter((s) => s !== "");
    sizes[name] = given[name] ?? Object.fromEntries(axes.map((axis) => [axis, known[axis] ?? USUAL[axis] ?? OTHERWISE]));
  }
  return right(sizes);
}
