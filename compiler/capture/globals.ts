// What names mean that a function does not bind itself: numbers and functions of the platform, or nothing, and then what
// is said about it. Reading a function (read.ts) and looking through one ahead of time (closed.ts) ask here.
import { constant } from "../../dsl/scalar.js";
import { closest, listed, meant } from "./names.js";
import { globalFunction, isNamespace, memberOf, namesIn, numeric, type Value } from "./values.js";

/** What is wrong, and what to write instead. */
export interface Words {
  readonly message: string;
  readonly hint: string;
}
export type Meaning = Value | { readonly kind: "refused"; readonly words: Words };
const refused = (message: string, hint: string): Meaning => ({ kind: "refused", words: { message, hint } });

/** undefined: the name is from outside, which is refused as well, unless the reader knows better. */
export function globalMeaning(name: string): Meaning | undefined {
  if (name === "Infinity") return numeric(constant(Infinity));
  if (name === "NaN") return numeric(constant(Number.NaN));
  const builtin = globalFunction(name);
  if (builtin && !isNamespace(name)) return { kind: "builtin", builtin };
  if (name === "undefined") return refused("undefined is no number", "write the number that is meant, such as 0 or NaN");
  if (name === "arguments") return refused("arguments cannot be read", "name the parameters");
  if (isNamespace(name)) return refused(`${name} itself is no number`, `use one of its functions: ${name}.${namesIn(name)[0]}(…)`);
  return undefined;
}

/** Math.exp, Number.EPSILON, … */
export function memberMeaning(namespace: string, name: string): Meaning {
  const member = memberOf(namespace, name);
  if (member) return member;
  if (namespace === "Math" && name === "random")
    return refused(
      "Math.random gives other numbers at each run",
      "draw with uniform(key, axes) or normal(key, axes), and add the tensor to the inputs",
    );
  const near = closest(name, namesIn(namespace));
  return refused(
    `${namespace}.${name} is no scalar primitive`,
    near ? `did you mean ${namespace}.${near}?` : `there are: ${listed(namesIn(namespace))}`,
  );
}

/** What to do about a name from outside, by what the function is for. */
export const outside = {
  map: (name: string) => `capture it: add it to map's inputs, map({ …, ${name} }, ({ …, ${name} }) => …)`,
  view: (name: string) => `pass it to view: view(x, axes, arrow, { ${name} }), and name it in the second parameter`,
  monoid: () => "a combine is closed: write the value out, or make it a component",
  captured: (name: string) => `pass ${name} as an argument: a captured function sees only its parameters`,
} as const;
/** `known`: the names that there are. */
export const fromOutside = (name: string, known: Iterable<string>, todo: (name: string) => string): Words => ({
  message: `${name} is not known inside the function`,
  hint: `${meant(closest(name, known))}${todo(name)}`,
});
export const early = (name: string): Words => ({
  message: `${name} is read before the line that gives it a value`,
  hint: "move the const above this line",
});
export const recursion = "recursion cannot be read: iterate with repeat, or reduce over an axis with fold";
