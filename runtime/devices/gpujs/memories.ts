// WebAssembly memories for gpu.js, which makes one a kernel. Engines set aside some 10 GB of addresses for each: Chromium has room
// for about a hundred in a page, where a training step has more kernels than that. A kernel copies its arguments in and its
// result out at every call, and calls follow one another, so that kernels may share: here one memory serves all kernels of a
// power of two of pages.
//
// gpu.js takes `WebAssembly.Memory` where it stands, so ours stands there while a kernel compiles, and no longer: what happens in
// between is synchronous.

interface Descriptor {
  readonly initial: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}
type MemoryClass = new (d: Descriptor) => object;
/** Node's types have no WebAssembly without the DOM's. */
const engine = (globalThis as unknown as { readonly WebAssembly?: { Memory: MemoryClass } }).WebAssembly;

const memories = new Map<string, object>();

/** Runs what compiles a kernel. */
export function withSharedMemories<T>(compile: () => T): T {
  if (!engine) return compile();
  const { Memory } = engine;
  /** A module takes any memory that is at least as large as it says, and may not grow beyond what it says. */
  const memoryFor = (d: Descriptor): object => {
    const initial = 2 ** Math.ceil(Math.log2(Math.max(1, d.initial)));
    if (d.shared || d.maximum === undefined || initial > d.maximum) return new Memory(d);
    const key = `${initial} ${d.maximum}`;
    const known = memories.get(key) ?? new Memory({ initial, maximum: d.maximum });
    memories.set(key, known);
    return known;
  };
  engine.Memory = class {
    constructor(d: Descriptor) {
      // biome-ignore lint/correctness/noConstructorReturn: `new` gives what this returns, a memory proper
      return memoryFor(d);
    }
  };
  try {
    return compile();
  } finally {
    engine.Memory = Memory;
  }
}
