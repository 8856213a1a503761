// What every program exported as WGSL has beside its kernels: pipelines, buffers and copies on a GPUDevice, as text.

import { FOR_EACH_IN } from "../export.js";

export const support = `// Runs kernels on a GPUDevice, for programs that Mallard exported.

const USAGE = { mapRead: 1, copyFrom: 4, copyTo: 8, uniform: 0x40, storage: 0x80 };
const COMPUTE = 4;
const READ = 1;

const textOf = async (url) =>
  url.protocol === "file:" ? (await import(/* @vite-ignore */ "node:fs/promises")).readFile(url, "utf8") : (await fetch(url)).text();

/** A size of this run. */
export function sized(extents, name, most) {
  const size = extents?.[name];
  if (!(Number.isInteger(size) && size >= 0 && size <= most)) throw new RangeError(\`extents.\${name} is \${size}: a whole number from 0 to \${most} is wanted\`);
  return size;
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);
/** To the nearest number with so many bits behind the first, ties to even; below 2^least in steps of that one. */
function nearest(x, bits, least) {
  const a = Math.abs(x);
  if (!(a > 0 && a < Infinity)) return x;
  let exponent = Math.max(least, Math.floor(Math.log2(a)));
  if (2 ** exponent > a && exponent > least) exponent--;
  const step = 2 ** (exponent - bits);
  const units = a / step;
  const down = Math.floor(units);
  const rest = units - down;
  return Math.sign(x) * (down + (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? 1 : 0)) * step;
}
function bf16Bits(x) {
  float[0] = nearest(x, 7, -126);
  return Number.isNaN(x) ? 0x7fc0 : word[0] >>> 16;
}
function f16Bits(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(nearest(x, 10, -14));
  if (Number.isNaN(a)) return 0x7e00;
  if (a >= 65536) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | (a * 2 ** 24);
  const exponent = Math.floor(Math.log2(a));
  return sign | ((exponent + 15) << 10) | ((a / 2 ** exponent - 1) * 1024);
}
function fromF16(bits) {
  const exponent = (bits >>> 10) & 31;
  const part = bits & 1023;
  const size = exponent === 31 ? (part ? NaN : Infinity) : exponent === 0 ? part * 2 ** -24 : (1024 + part) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}
function fromBf16(bits) {
  word[0] = bits << 16;
  return float[0];
}
/** How each type lies in memory, and what its results are. */
const types = {
  f32: { stored: Float32Array, given: Float32Array },
  i32: { stored: Int32Array, given: Int32Array },
  bool: { stored: Uint8Array, given: Uint8Array, to: (x) => (x ? 1 : 0) },
  bf16: { stored: Uint16Array, given: Float32Array, to: bf16Bits, from: fromBf16 },
  f16: { stored: Uint16Array, given: Float32Array, to: f16Bits, from: fromF16 },
};
const same = (x) => x;
const product = (xs) => xs.reduce((n, x) => n * x, 1);
/** Elements from the first to the last that is used. */
const reach = ({ counts, strides }) => (product(counts) === 0 ? 0 : 1 + counts.reduce((n, c, d) => n + (c - 1) * strides[d], 0));
const words = (type, elements) => Math.ceil((elements * types[type].stored.BYTES_PER_ELEMENT) / 4) * 4;

${FOR_EACH_IN}
/** An array as bytes at its places among greatest sizes. */
function spread(array, data) {
  const length = product(array.counts);
  if (data?.length !== length) throw new RangeError(\`"\${array.name}" has \${data?.length ?? "no"} elements for \${length}\`);
  const { stored, to = same } = types[array.type];
  const bytes = new Uint8Array(words(array.type, reach(array)));
  const out = new stored(bytes.buffer, 0, reach(array));
  forEachIn(array, (dense, at) => {
    out[at] = to(data[dense]);
  });
  return bytes;
}
/** A result without the places beyond this run's sizes. */
function gather(array, buffer, offset) {
  const { stored, given, from = same } = types[array.type];
  const data = new stored(buffer, offset, reach(array));
  const out = new given(product(array.counts));
  forEachIn(array, (dense, at) => {
    out[dense] = from(data[at]);
  });
  return out;
}

/** What \`make\` makes; a fault of the device's is thrown. */
async function checked(device, what, make) {
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const made = make();
  const faults = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
  const fault = faults.find((f) => f);
  if (fault) throw new Error(\`\${what}: \${fault.message}\`);
  return made;
}

/** Compiles the kernels side by side, and makes the buffers. */
export async function opened(device, kernels, memory, tables) {
  const texts = await Promise.all(kernels.map((k) => textOf(k.file)));
  const compiled = await Promise.all(
    kernels.map(async ({ file, access, ints }, i) => {
      const entries = access.map((a, binding) => ({ binding, visibility: COMPUTE, buffer: { type: a === "read" ? "read-only-storage" : "storage" } }));
      if (ints > 0) entries.push({ binding: entries.length, visibility: COMPUTE, buffer: { type: "uniform", hasDynamicOffset: true } });
      const layout = device.createBindGroupLayout({ entries });
      const label = file.pathname.split("/").at(-1);
      const pipeline = await device.createComputePipelineAsync({
        label,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module: device.createShaderModule({ code: texts[i], label }), entryPoint: "main" },
      });
      return { pipeline, layout, bytes: Math.ceil((ints * 4) / 256) * 256 };
    }),
  );
  const usage = USAGE.storage | USAGE.copyFrom | USAGE.copyTo;
  const buffers = await checked(device, "memory", () =>
    Object.fromEntries(Object.entries(memory).map(([label, size]) => [label, device.createBuffer({ label, size, usage })])),
  );
  const write = ({ memory, offset }, bytes) => {
    if (bytes.length > 0) device.queue.writeBuffer(buffers[memory], offset, bytes);
  };
  for (const t of tables) write(t, spread({ ...t, counts: [t.values.length], strides: [1] }, t.values));

  let uniform = null; // as large as a run ever needed
  const groups = new Map();
  const groupOf = (kernel, bindings) => {
    const key = JSON.stringify([kernel, bindings]);
    const known = groups.get(key);
    if (known) return known;
    const { layout, bytes } = compiled[kernel];
    const entries = bindings.map(([name, offset, size], binding) => ({ binding, resource: { buffer: buffers[name], offset, size } }));
    if (bytes > 0) entries.push({ binding: entries.length, resource: { buffer: uniform, size: bytes } });
    const group = device.createBindGroup({ layout, entries });
    groups.set(key, group);
    return group;
  };
  const most = device.limits.maxComputeWorkgroupsPerDimension;

  /** Writes the inputs; then come dispatches, and the results, in one encoder. */
  const begin = (inputs, arrays) => {
    const written = inputs.map((x) => [x, spread(x, arrays[x.name])]);
    const dispatches = [];
    let bytes = 0;
    const dispatch = (kernel, bindings, ints, workgroups) => {
      if (workgroups <= 0) return;
      dispatches.push({ kernel, bindings, ints, workgroups, at: bytes });
      bytes += compiled[kernel].bytes;
    };
    const end = async (outputs) => {
      let at = 0;
      const reads = outputs.map((x) => {
        const read = { x, at, bytes: words(x.type, reach(x)) };
        at += Math.ceil(read.bytes / 8) * 8;
        return read;
      });
      let staging = null;
      await checked(device, "a run", () => {
        for (const [x, data] of written) write(x, data);
        if (bytes > (uniform?.size ?? 0)) {
          uniform?.destroy();
          groups.clear();
          uniform = device.createBuffer({ label: "integers", size: bytes, usage: USAGE.uniform | USAGE.copyTo });
        }
        if (bytes > 0) {
          const ints = new Int32Array(bytes / 4);
          for (const d of dispatches) ints.set(d.ints, d.at / 4);
          device.queue.writeBuffer(uniform, 0, ints);
        }
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        for (const d of dispatches) {
          const { pipeline, bytes } = compiled[d.kernel];
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, groupOf(d.kernel, d.bindings), bytes > 0 ? [d.at] : []);
          const x = Math.min(d.workgroups, most);
          pass.dispatchWorkgroups(x, Math.ceil(d.workgroups / x));
        }
        pass.end();
        if (at > 0) staging = device.createBuffer({ label: "results", size: at, usage: USAGE.mapRead | USAGE.copyTo });
        for (const r of reads) if (r.bytes > 0) encoder.copyBufferToBuffer(buffers[r.x.memory], r.x.offset, staging, r.at, r.bytes);
        device.queue.submit([encoder.finish()]);
      });
      await staging?.mapAsync(READ);
      const found = staging?.getMappedRange() ?? new ArrayBuffer(0);
      const results = Object.fromEntries(reads.map((r) => [r.x.name, gather(r.x, found, r.at)]));
      staging?.destroy();
      return results;
    };
    return { dispatch, end };
  };
  const close = () => {
    for (const b of Object.values(buffers)) b.destroy();
    uniform?.destroy();
  };
  return { begin, close };
}
`;
