// What is said about each construct that scalar functions may not contain: what it is, and what to write instead.
import type { Construct, Refused } from "./syntax.js";

interface Refusal {
  readonly message: string;
  readonly hint: string;
}
/** {} stands for the word or operator in question. */
const row =
  (message: string, hint: string) =>
  (detail: string): Refusal => ({ message: message.replaceAll("{}", detail), hint: hint.replaceAll("{}", detail) });

const perElement = "the function is one formula for each element";

export const refusals: { readonly [C in Construct]: (detail: string) => Refusal } = {
  array: row("an array is no scalar", "return an object of numbers, or give the tensor another axis"),
  "array pattern": row("an array cannot be taken apart here", "inputs, indices and sizes are records: write { name }"),
  assignment: row("{} changes a variable", "bind each value once: const next = …"),
  async: row("an async function cannot be read", `${perElement}: it cannot wait`),
  await: row("await cannot be read", `${perElement}: it cannot wait`),
  bigint: row("{} is a bigint", "write a number, without the n"),
  bitwise: row("the bitwise operator {} is not part of scalar functions", "use arithmetic: Math.floor(x / 2 ** n) shifts, x % 2 ** n masks"),
  class: row("a class cannot be read", "write an arrow function over numbers"),
  closure: row("a function inside the function cannot be read", "define it outside and capture it by name among the inputs"),
  comma: row("the comma operator is not part of scalar functions", "write one expression; bind others with const"),
  "computed key": row("a computed key cannot be read", "write the name itself"),
  "default value": row("a default value has no meaning here: every value is given", "remove the default"),
  delete: row("delete is not part of scalar functions", "build a new object with the fields that it shall have"),
  "element access": row("only a name in quotes can stand in brackets", "a scalar function sees one element: read others with view or at"),
  "expression statement": row("this statement has no effect", "remove it, or bind its value with const"),
  generator: row("a generator cannot be read", `${perElement}: it returns once`),
  instanceof: row("instanceof is not part of scalar functions", "values are numbers and booleans"),
  in: row("in is not part of scalar functions", "the fields of a record are known: read the one that is meant"),
  "legacy octal": row("{} has a leading zero", "write 0o… for octal, or leave the zero out"),
  loop: row("a {} loop cannot be read", "reduce over an axis with fold or sum; iterate with repeat"),
  method: row("a method cannot be read", "write an arrow function: name: (x) => …"),
  new: row("new is not part of scalar functions", "values are numbers and booleans"),
  null: row("null is no number", "write the number that is meant, such as 0 or NaN"),
  nullish: row("{} is not part of scalar functions: no value is missing", "remove it; for NaN write Number.isNaN(x) ? … : x"),
  "optional chaining": row("?. is not part of scalar functions: no value is missing", "write a plain dot"),
  proto: row("__proto__ cannot be a field", "use another name"),
  "regular expression": row("a regular expression is no scalar", "values are numbers and booleans"),
  rest: row("the rest of a record cannot be taken as a whole", "name each value"),
  spread: row("spread (...) cannot be read", "name each field or argument"),
  statement: row("{} is not part of scalar functions", "const, if, return and blocks are"),
  string: row("a string is no scalar", "values are numbers and booleans; encode a choice as a number"),
  super: row("super is not part of scalar functions", "write an arrow function over numbers"),
  switch: row("switch is not part of scalar functions", "write if … return, or c ? a : b"),
  template: row("a template string is no scalar", "values are numbers and booleans"),
  this: row("this has no meaning in a scalar function", "capture what it holds among the inputs"),
  throw: row("throw is not part of scalar functions", "return NaN where there is no value"),
  try: row("try is not part of scalar functions", "arithmetic does not throw; remove it"),
  typeof: row("typeof is not part of scalar functions", "the types are known: numbers, and booleans of bool tensors"),
  uninitialised: row("{} has no value here", "bind each value once: const {} = …"),
  unknown: row("{} is not part of scalar functions", "arithmetic, comparisons, && || ! ?:, Math.*, const, if and return are"),
  using: row("using is not part of scalar functions", "write const"),
  var: row("var is not part of scalar functions: it ignores blocks", "write const"),
  void: row("void gives no value", "write the number that is meant"),
  yield: row("yield is not part of scalar functions", `${perElement}: it returns once`),
};

export const explain = (r: Refused): Refusal => refusals[r.construct](r.detail);
