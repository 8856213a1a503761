// What compiling and running say about requests that do not fit together.
import { expect, test } from "vitest";
import { compile, input, kernelsOf, map } from "../../index.js";

const q = input({ query: 2 });
const k = input({ key: 3 });
const product = map({ q, k }, ({ q, k }) => q * k);
const js = { device: "js" } as const;
const thrown = async (f: () => unknown): Promise<string> => {
  try {
    await f();
  } catch (e) {
    return e instanceof Error ? `${e.name}: ${e.message.replaceAll(import.meta.dirname, "HERE")}` : String(e);
  }
  return "nothing";
};

test("an input that the program is not given is refused when it is compiled, with the place of that input", async () => {
  const want =
    /^CompileError: the outputs depend on an input that is not among the program's inputs: f32 \{ key: 3 \}\n.*\n {2}at HERE\/messages.test.ts:6:\d+$/;
  expect(await thrown(() => compile({ q }, { product }, js))).toMatch(want);
  expect(await thrown(() => kernelsOf({ q }, { product }, "c"))).toMatch(want);
});
test("a refused arrow has one place, its own", async () => {
  const bad = map({ q }, ({ q }, { query: i }) => ((i > 0) as unknown as number) * q);
  const message = await thrown(() => compile({ q }, { bad }, js));
  expect(message).toMatch(/^CompileError: HERE\/messages.test.ts:25:55: each side of \* must be a number; this is a boolean\n/);
  expect(message.match(/messages\.test\.ts/g)).toHaveLength(1);
});
test("a run without inputs, or after disposal, says what is missing", async () => {
  const program = await compile({ q }, { q2: map(q, (x) => 2 * x) }, js);
  // Callers without types can do this.
  const run: (...args: readonly unknown[]) => unknown = (...args) => Reflect.apply(program.run, program, args);
  expect(await thrown(() => run())).toBe('DeviceError: input "q" is missing or is not an array: expected an array over query');
  program[Symbol.dispose]();
  expect(await thrown(() => run({ q: [1, 2] }))).toContain("DeviceError: a program or its session was used after it was disposed");
});
test("element types and arrows that give promises are refused when the expression is built", async () => {
  expect(await thrown(() => Reflect.apply(input, null, [{ a: 1 }, "f31"]))).toContain('DTypeError: input: "f31" is no element type');
  expect(await thrown(() => Reflect.apply(map, null, [{ q }, async () => 1]))).toContain("ArrowError: map: the arrow gives a promise");
});
