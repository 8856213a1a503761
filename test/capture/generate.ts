// Random closed arrow functions, as source text: everything that the language of scalar functions has. Names are chosen
// by number among those in scope when the text is printed, so that every shrunk program is still closed.
import fc from "fast-check";

type Num =
  | { readonly t: "lit"; readonly text: string }
  | { readonly t: "var"; readonly pick: number }
  | { readonly t: "unary"; readonly op: string; readonly a: Num }
  | { readonly t: "binary"; readonly op: string; readonly a: Num; readonly b: Num }
  | { readonly t: "math"; readonly f: string; readonly args: readonly Num[] }
  | { readonly t: "choose"; readonly c: Bool; readonly a: Num; readonly b: Num }
  | { readonly t: "convert"; readonly c: Bool }
  | { readonly t: "field"; readonly a: Num; readonly b: Num }
  | { readonly t: "helper"; readonly which: number; readonly a: Num; readonly b: Num };
type Bool =
  | { readonly t: "truth"; readonly value: boolean }
  | { readonly t: "flag"; readonly pick: number }
  | { readonly t: "compare"; readonly op: string; readonly a: Num; readonly b: Num }
  | { readonly t: "logic"; readonly op: string; readonly a: Bool; readonly b: Bool }
  | { readonly t: "not"; readonly a: Bool }
  | { readonly t: "test"; readonly f: string; readonly a: Num }
  | { readonly t: "pick"; readonly c: Bool; readonly a: Bool; readonly b: Bool };
type Step =
  | { readonly t: "const"; readonly keyword: string; readonly value: Num }
  | { readonly t: "flag"; readonly value: Bool }
  | { readonly t: "pair"; readonly a: Num; readonly b: Num }
  | { readonly t: "record"; readonly a: Num; readonly b: Bool }
  | {
      readonly t: "if";
      readonly test: Bool;
      readonly body: readonly Step[];
      readonly result: Num;
      readonly form: "bare" | "block" | "else" | "maybe";
    }
  | { readonly t: "block"; readonly steps: readonly Step[] };

const literals = [
  "0",
  "1",
  "2",
  "0.5",
  "3",
  "1e-3",
  "1e300",
  "1e-310",
  "0x10",
  "1_000",
  ".25",
  "Infinity",
  "NaN",
  "-Infinity",
  "-0",
  "7",
  "Math.PI",
  "Math.LN2",
];
const oneArgument = [
  "abs sign floor ceil round trunc sqrt cbrt exp expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh fround",
].flatMap((s) => s.split(" "));

const { num, bool } = fc.letrec<{ num: Num; bool: Bool }>((tie) => ({
  num: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ t: fc.constant("lit" as const), text: fc.constantFrom(...literals) }),
    { weight: 6, arbitrary: fc.record({ t: fc.constant("var" as const), pick: fc.nat(20) }) },
    fc.record({ t: fc.constant("unary" as const), op: fc.constantFrom("-", "+"), a: tie("num") }),
    fc.record({ t: fc.constant("binary" as const), op: fc.constantFrom("+", "-", "*", "/", "%", "**"), a: tie("num"), b: tie("num") }),
    fc.record({ t: fc.constant("binary" as const), op: fc.constantFrom("+", "-", "*"), a: tie("num"), b: tie("num") }),
    fc.record({ t: fc.constant("math" as const), f: fc.constantFrom(...oneArgument), args: fc.tuple(tie("num")) }),
    fc.record({ t: fc.constant("math" as const), f: fc.constantFrom("pow", "atan2", "hypot"), args: fc.tuple(tie("num"), tie("num")) }),
    fc.record({ t: fc.constant("math" as const), f: fc.constantFrom("min", "max"), args: fc.array(tie("num"), { maxLength: 4 }) }),
    fc.record({ t: fc.constant("choose" as const), c: tie("bool"), a: tie("num"), b: tie("num") }),
    fc.record({ t: fc.constant("convert" as const), c: tie("bool") }),
    fc.record({ t: fc.constant("field" as const), a: tie("num"), b: tie("num") }),
    fc.record({ t: fc.constant("helper" as const), which: fc.nat(2), a: tie("num"), b: tie("num") }),
  ),
  bool: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ t: fc.constant("truth" as const), value: fc.boolean() }),
    { weight: 3, arbitrary: fc.record({ t: fc.constant("flag" as const), pick: fc.nat(20) }) },
    fc.record({
      t: fc.constant("compare" as const),
      op: fc.constantFrom("<", "<=", ">", ">=", "===", "!==", "==", "!="),
      a: tie("num"),
      b: tie("num"),
    }),
    fc.record({ t: fc.constant("logic" as const), op: fc.constantFrom("&&", "||", "===", "!=="), a: tie("bool"), b: tie("bool") }),
    fc.record({ t: fc.constant("not" as const), a: tie("bool") }),
    fc.record({
      t: fc.constant("test" as const),
      f: fc.constantFrom("Number.isNaN", "Number.isFinite", "isNaN", "isFinite", "Boolean"),
      a: tie("num"),
    }),
    fc.record({ t: fc.constant("pick" as const), c: tie("bool"), a: tie("bool"), b: tie("bool") }),
  ),
}));
const { step } = fc.letrec<{ step: Step }>((tie) => ({
  step: fc.oneof(
    { depthSize: "xsmall", withCrossShrink: true },
    fc.record({ t: fc.constant("const" as const), keyword: fc.constantFrom("const", "const", "let"), value: num }),
    fc.record({ t: fc.constant("flag" as const), value: bool }),
    fc.record({ t: fc.constant("pair" as const), a: num, b: num }),
    fc.record({ t: fc.constant("record" as const), a: num, b: bool }),
    fc.record({
      t: fc.constant("if" as const),
      test: bool,
      body: fc.array(tie("step"), { maxLength: 2 }),
      result: num,
      form: fc.constantFrom("bare", "block", "else", "maybe"),
    }),
    fc.record({ t: fc.constant("block" as const), steps: fc.array(tie("step"), { maxLength: 2 }) }),
  ),
}));

interface Names {
  readonly numbers: readonly string[];
  readonly flags: readonly string[];
  /** Whether the functions g, h, k can be called. */
  readonly helpers: boolean;
}
const pick = (names: readonly string[], i: number) => names[i % names.length] as string;

function printNum(e: Num, n: Names): string {
  switch (e.t) {
    case "lit":
      return e.text.startsWith("-") ? `(${e.text})` : e.text;
    case "var":
      return pick(n.numbers, e.pick);
    case "unary":
      return `(${e.op}(${printNum(e.a, n)}))`;
    case "binary":
      return `(${printNum(e.a, n)} ${e.op} ${printNum(e.b, n)})`;
    case "math":
      return `Math.${e.f}(${e.args.map((a) => printNum(a, n)).join(", ")})`;
    case "choose":
      return `(${printBool(e.c, n)} ? ${printNum(e.a, n)} : ${printNum(e.b, n)})`;
    case "convert":
      return `Number(${printBool(e.c, n)})`;
    case "field":
      return `({ p: ${printNum(e.a, n)}, "q r": ${printNum(e.b, n)} })["q r"]`;
    case "helper":
      return n.helpers ? `${["g", "h", "k"][e.which]}(${printNum(e.a, n)}, ${printNum(e.b, n)})` : printNum(e.a, n);
  }
}
function printBool(e: Bool, n: Names): string {
  switch (e.t) {
    case "truth":
      return String(e.value);
    case "flag":
      return pick(n.flags, e.pick);
    case "compare":
      return `(${printNum(e.a, n)} ${e.op} ${printNum(e.b, n)})`;
    case "logic":
      return `(${printBool(e.a, n)} ${e.op} ${printBool(e.b, n)})`;
    case "not":
      return `!${printBool(e.a, n)}`;
    case "test":
      return `${e.f}(${printNum(e.a, n)})`;
    case "pick":
      return `(${printBool(e.c, n)} ? ${printBool(e.a, n)} : ${printBool(e.b, n)})`;
  }
}
/** Statements, and the names in scope after them. */
function printSteps(steps: readonly Step[], n: Names, depth: number, result: (n: Names) => string): { readonly text: string; readonly names: Names } {
  const lines: string[] = [];
  let names = n;
  steps.forEach((s, i) => {
    const id = `${depth}_${i}`;
    switch (s.t) {
      case "const":
        lines.push(`${s.keyword} v${id} = ${printNum(s.value, names)};`);
        names = { ...names, numbers: [`v${id}`, ...names.numbers] };
        break;
      case "flag":
        lines.push(`const b${id} = ${printBool(s.value, names)};`);
        names = { ...names, flags: [`b${id}`, ...names.flags] };
        break;
      case "pair": // a name of an outer scope may be hidden
        lines.push(`const a${id} = ${printNum(s.a, names)}, c${i} = ${printNum(s.b, names)};`);
        names = { ...names, numbers: [`c${i}`, `a${id}`, ...names.numbers.filter((m) => m !== `c${i}`)] };
        break;
      case "record":
        lines.push(
          `const r${id} = { x: ${printNum(s.a, names)}, inner: { y: ${printBool(s.b, names)} } };`,
          `const { x: x${id}, inner: { y } } = r${id};`.replace("y }", `y: y${id} }`),
        );
        names = { ...names, numbers: [`x${id}`, `r${id}.x`, ...names.numbers], flags: [`y${id}`, `r${id}.inner.y`, ...names.flags] };
        break;
      case "if": {
        const test = printBool(s.test, names);
        const body = printSteps(s.body, inside(names), depth + 1, result);
        const value = result({ ...body.names });
        if (s.form === "bare") lines.push(`if (${test}) return ${result(names)};`);
        else if (s.form === "block") lines.push(`if (${test}) { ${body.text} return ${value}; }`);
        else if (s.form === "else") lines.push(`if (${test}) { ${body.text} } else { ${body.text} return ${value}; }`);
        else lines.push(`if (${test}) { ${body.text} }`);
        break;
      }
      case "block":
        lines.push(`{ ${printSteps(s.steps, inside(names), depth + 1, result).text} }`);
    }
  });
  return { text: lines.join("\n"), names };
}
/** `c0` may be bound again inside, where it then hides the outer one from the block's beginning: read it no more. */
const inside = (n: Names): Names => ({ ...n, numbers: n.numbers.filter((m) => !/^c\d$/.test(m)) });

export interface Generated {
  readonly text: string;
  /** Fields of the result; null for a number by itself. */
  readonly fields: readonly string[] | null;
  /** Closed functions of two numbers, captured as g, h and k. */
  readonly helpers: readonly string[];
}

/** Inputs u, v, w (numbers) and m (boolean); axes i and j. */
export const arrows: fc.Arbitrary<Generated> = fc
  .record({
    steps: fc.array(step, { maxLength: 5 }),
    result: num,
    extra: fc.option(bool, { nil: null }),
    branchResults: fc.array(num, { minLength: 1, maxLength: 4 }),
    style: fc.constantFrom("names", "renamed", "records"),
    helpers: fc.tuple(num, num, num),
  })
  .map(({ steps, result, extra, branchResults, style, helpers }) => {
    const [first, renamed] = [style === "names", style === "renamed"];
    const names: Names = first
      ? { numbers: ["u", "v", "w", "i", "j", "I"], flags: ["m"], helpers: true }
      : renamed
        ? { numbers: ["u1", "v", "w", "row", "j", "rows"], flags: ["mask"], helpers: true }
        : { numbers: ["p.u", "p.v", "p.w", "at.i", "at.j", "size.i"], flags: ["p.m"], helpers: false };
    const params = first
      ? "({ u, v, w, m, g, h, k }, { i, j }, { i: I })"
      : renamed
        ? "({ u: u1, v, w, m: mask, g, h, k }, { i: row, j }, { i: rows })"
        : "(p, at, size)";
    let turn = 0;
    const give = (e: Num) => (n: Names) => (extra ? `{ value: ${printNum(e, n)}, flag: ${printBool(extra, n)} }` : printNum(e, n));
    const body = printSteps(steps, names, 0, (n) => give(branchResults[turn++ % branchResults.length] as Num)(n));
    const text =
      steps.length === 0 ? `${params} => (${give(result)(names)})` : `${params} => {\n${body.text}\nreturn ${give(result)(body.names)};\n}`;
    const closed = (e: Num) => `(a, b) => ${printNum(e, { numbers: ["a", "b"], flags: ["true", "false"], helpers: false })}`;
    return { text, fields: extra ? ["value", "flag"] : null, helpers: helpers.map(closed) };
  });

/** Numbers where arithmetic is at its ends. */
export const corners = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  2,
  3,
  -3,
  Infinity,
  -Infinity,
  Number.NaN,
  5e-324,
  -5e-324,
  1e-308,
  1e308,
  -1.7e308,
  2 ** 53,
  1e-17,
  710,
  0.1,
];
export const anyNumber: fc.Arbitrary<number> = fc.oneof(fc.constantFrom(...corners), fc.double(), fc.double({ min: -10, max: 10, noNaN: true }));
