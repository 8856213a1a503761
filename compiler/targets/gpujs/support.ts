// What every module exported for gpu.js has beside its kernels: copies between arrays of the host, as text.

import { FOR_EACH_IN } from "../export.js";

export const support = `// Copies between arrays, for programs that Mallard exported.

${FOR_EACH_IN}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);
/** What a value is when it has been stored: 16-bit floats to nearest, ties to even; integers where f32 holds each. */
export const rounding = {
  bf16(x) {
    float[0] = x;
    if (Number.isNaN(x)) return x;
    word[0] = (word[0] + 0x7fff + ((word[0] >>> 16) & 1)) & 0xffff0000;
    return float[0];
  },
  f16(x) {
    const a = Math.abs(x);
    if (!(a < 65520)) return Number.isNaN(a) ? x : x < 0 ? -Infinity : Infinity;
    const step = 2 ** (Math.max(-14, a > 0 ? Math.floor(Math.log2(a)) : -14) - 10);
    const units = a / step;
    const down = Math.floor(units);
    const rest = units - down;
    const rounded = (down + (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? 1 : 0)) * step;
    return x < 0 || Object.is(x, -0) ? -rounded : rounded;
  },
  i32(x) {
    if (!(Math.abs(x) < 16777216)) throw new RangeError(\`the integer \${x} is not exact in f32\`);
    return x;
  },
};
const same = (x) => x;

/** An input at its places among greatest sizes. */
export function spread(name, data, counts, strides, elements, dtype) {
  const length = counts.reduce((n, c) => n * c, 1);
  if (data?.length !== length) throw new RangeError(\`"\${name}" has \${data?.length ?? "no"} elements for \${length}\`);
  const round = rounding[dtype] ?? same;
  const out = new Float32Array(elements);
  forEachIn({ counts, strides }, (dense, at) => {
    out[at] = round(data[dense]);
  });
  return out;
}
/** A result without the places beyond this run's sizes. */
export function gather(data, counts, strides, dtype) {
  const make = { i32: Int32Array, bool: Uint8Array, f64: Float64Array }[dtype] ?? Float32Array;
  const out = new make(counts.reduce((n, c) => n * c, 1));
  forEachIn({ counts, strides }, (dense, at) => {
    out[dense] = data[at];
  });
  return out;
}

/** into[constant + Σ step·index] = from[index]. */
export function store(from, counts, strides, into, constant, steps, round = same) {
  const to = new Int32Array(counts.reduce((n, c) => n * c, 1));
  forEachIn({ counts, strides: steps }, (dense, at) => {
    to[dense] = constant + at;
  });
  forEachIn({ counts, strides }, (dense, at) => {
    into[to[dense]] = round(from[at]);
  });
}
/** The same with an array of addresses. */
export function storeAt(from, counts, strides, into, addresses, round = same) {
  forEachIn({ counts, strides }, (_, at) => {
    into[addresses[at]] = round(from[at]);
  });
}
/** out[row, t] = Σ of value over the places of that row whose index is t, added in order. */
export function scatter(index, value, counts, strides, inner, rows, size, stride) {
  const out = new Float32Array(rows * stride);
  if (stride === 0) return out;
  forEachIn({ counts, strides }, (_, at) => {
    const t = index[at];
    if (!(t >= 0 && t < size)) return;
    out[Math.floor(at / inner) * stride + t] += value[at];
  });
  return out;
}

/** gpu.js takes no empty arrays; nothing reads this one. */
const nothing = new Float32Array(1);
/** Kernels are compiled when they first run. */
export function opened(GPU, mode, kernels) {
  const gpu = new GPU({ mode });
  const compiled = kernels.map(() => null);
  /** \`empty\`: a size of this run is 0, so that there is no cell to compute. */
  const launch = (number, args, empty = false) => {
    const k = kernels[number];
    if (empty) return new Float32Array(k.cells);
    if (compiled[number] === null) {
      const made = gpu.createKernel(String(k.kernel), {
        output: [k.cells],
        argumentTypes: k.argumentTypes,
        returnType: "Number",
        loopMaxIterations: 2147483647,
      });
      for (const f of k.functions) made.addFunction(String(f.source), { argumentTypes: f.argumentTypes, returnType: f.returnType });
      compiled[number] = made;
    }
    return compiled[number](...args.map((a) => (a.length === 0 ? nothing : a)));
  };
  const close = async () => {
    for (const k of compiled) k?.destroy();
    await gpu.destroy();
  };
  return { launch, close };
}
`;
