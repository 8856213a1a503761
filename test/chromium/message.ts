// What crosses the channel between a test and a page: plain data with typed arrays in it, as one binary message. The data's
// JSON comes first, with a number in the place of each array; then the arrays' bytes, each at a multiple of 8.

const kinds = { Uint8Array, Int32Array, Uint32Array, Float32Array, Float64Array } as const;
type Kind = keyof typeof kinds;
type Typed = InstanceType<(typeof kinds)[Kind]>;
const kindOf = (x: object): Kind | undefined => (Object.keys(kinds) as Kind[]).find((k) => x instanceof kinds[k]);
/** Stands in the JSON for an array, by its kind, bytes from the first array's, and elements. */
interface Mark {
  readonly $typed: readonly [kind: Kind, at: number, length: number];
}
const isMark = (x: unknown): x is Mark => typeof x === "object" && x !== null && "$typed" in x;
const aligned = (n: number): number => Math.ceil(n / 8) * 8;

export function encode(value: unknown): Uint8Array {
  const arrays: { readonly array: Typed; readonly at: number }[] = [];
  let end = 0;
  const text = JSON.stringify(value, (_, x: unknown) => {
    if (typeof x === "number" && !Number.isFinite(x)) throw new Error("only arrays hold numbers that are not finite");
    if (x instanceof Map || x instanceof Set || x instanceof ArrayBuffer) throw new Error(`a ${x.constructor.name} is no plain data`);
    const kind = typeof x === "object" && x !== null ? kindOf(x) : undefined;
    if (!kind) return x;
    const array = x as Typed;
    const at = end;
    arrays.push({ array, at });
    end = aligned(at + array.byteLength);
    return { $typed: [kind, at, array.length] } satisfies Mark;
  });
  const json = new TextEncoder().encode(text);
  const base = aligned(4 + json.length);
  const out = new Uint8Array(base + end);
  new DataView(out.buffer).setUint32(0, json.length, true);
  out.set(json, 4);
  for (const { array, at } of arrays) out.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), base + at);
  return out;
}

/** The arrays are copies. */
export function decode(bytes: Uint8Array): unknown {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const text = new TextDecoder().decode(bytes.subarray(4, 4 + length));
  const base = aligned(4 + length);
  return JSON.parse(text, (_, x: unknown) => {
    if (!isMark(x)) return x;
    const [kind, at, count] = x.$typed;
    const make = kinds[kind];
    const from = base + at;
    return new make(new Uint8Array(bytes.subarray(from, from + count * make.BYTES_PER_ELEMENT)).buffer);
  });
}
