// The least that a GPU must do: a shader of one invocation, by every step that a program's run takes.
import { answer } from "./faults.js";
import type { GpuHost } from "./host.js";

const source = `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1)
fn main() {
  x[2] = x[0] + x[1];
}
`;

/** The GPU's sum of 1 and 2. Throws DeviceError where it computes none. */
export async function trial(host: GpuHost): Promise<number> {
  const what = "a trial";
  const pipelines = answer(await host.pipelines([{ name: "trial", source, access: ["read_write"], ints: 0 }]), what);
  const buffers = answer(await host.buffers([12], what), what);
  const [pipeline, buffer] = [pipelines[0] as number, buffers[0] as number]; // one of each was asked for
  const list = answer(await host.prepare({ dispatches: [{ pipeline, bindings: [{ buffer, offset: 0, bytes: 12 }], ints: null }], uniform: 0 }), what);
  const data = new Uint8Array(Float32Array.of(1, 2, 0).buffer);
  const job = {
    writes: [{ buffer, offset: 0, data }],
    run: { list, ints: null, groups: Uint32Array.of(1, 1) },
    reads: [{ buffer, offset: 8, bytes: 4 }],
  };
  const [read] = answer(await host.submit(job), what).reads;
  host.drop(list);
  host.free(buffers);
  host.release(pipelines);
  return new Float32Array((read as Uint8Array).slice().buffer)[0] as number;
}
