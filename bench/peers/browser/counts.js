// What a page asks of WebGPU, whoever asks: dispatches, submits, bytes of buffers that exist at once. Counted in the
// prototypes, so before anything else runs in the page; ours and its peers are counted alike.
const count = { dispatches: 0, submits: 0, copies: 0, pipelines: 0 };
const bytes = { now: 0, peak: 0 };
/** Size of each buffer that was not destroyed; one that nobody can reach any more does not count either. */
const sizes = new WeakMap();
const gone = new FinalizationRegistry((box) => release(box));
function release(box) {
  bytes.now -= box.size;
  box.size = 0;
}
/** `before` sees the arguments, `after` the result. */
function around(type, name, { before, after }) {
  const given = type.prototype[name];
  type.prototype[name] = function (...args) {
    before?.(this, args);
    const result = given.apply(this, args);
    after?.(result, args);
    return result;
  };
}
function made(buffer, [{ size }]) {
  const box = { size };
  sizes.set(buffer, box);
  gone.register(buffer, box);
  bytes.now += size;
  bytes.peak = Math.max(bytes.peak, bytes.now);
}
const devices = new Set();
const requestDevice = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...args) {
  const device = await requestDevice.apply(this, args);
  devices.add(device);
  return device;
};
around(GPUComputePassEncoder, "dispatchWorkgroups", { before: () => count.dispatches++ });
around(GPUComputePassEncoder, "dispatchWorkgroupsIndirect", { before: () => count.dispatches++ });
around(GPUQueue, "submit", { before: () => count.submits++ });
around(GPUCommandEncoder, "copyBufferToBuffer", { before: () => count.copies++ });
around(GPUCommandEncoder, "clearBuffer", { before: () => count.copies++ });
around(GPUDevice, "createComputePipeline", { before: () => count.pipelines++ });
around(GPUDevice, "createComputePipelineAsync", { before: () => count.pipelines++ });
around(GPUDevice, "createBuffer", { after: made });
around(GPUBuffer, "destroy", { before: (buffer) => sizes.has(buffer) && release(sizes.get(buffer)) });

export const counted = () => ({ ...count, bytes: bytes.now, peakBytes: bytes.peak });
/** When all that was submitted is done. */
export const whenDone = () => Promise.all([...devices].map((d) => d.queue.onSubmittedWorkDone()));
/** From here on the peak is that of what comes. */
export const startPeak = () => (bytes.peak = bytes.now);
