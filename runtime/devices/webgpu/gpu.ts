// The part of WebGPU that we use, as types: Node's package and the browser's navigator.gpu both have it, and neither's types
// become a dependency of who uses ours.

export interface Gpu {
  requestAdapter(options?: {
    readonly powerPreference?: "low-power" | "high-performance";
    readonly forceFallbackAdapter?: boolean;
  }): Promise<GpuAdapter | null>;
}
/** An adapter, and what it was asked of: Dawn's work stops, or crashes, as soon as that is collected. */
export interface FoundAdapter {
  readonly adapter: GpuAdapter;
  readonly from: Gpu;
}
export interface GpuAdapter {
  readonly features: ReadonlySetLike;
  readonly limits: GpuLimits;
  readonly info?: GpuInfo;
  requestDevice(request: {
    readonly requiredFeatures: Iterable<FeatureName>;
    readonly requiredLimits: Readonly<Record<string, number>>;
  }): Promise<GpuDevice>;
}
export interface GpuInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly isFallbackAdapter?: boolean;
}
/** What both packages' sets of features have. */
interface ReadonlySetLike {
  has(name: string): boolean;
}
/** Those that a kernel can meet. */
export const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxUniformBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;
export type LimitName = (typeof LIMITS)[number];
export type GpuLimits = Readonly<Record<LimitName, number>>;
/** Those that a kernel or a measurement can use. */
export const FEATURES = ["subgroups", "shader-f16", "timestamp-query"] as const;
export type FeatureName = (typeof FEATURES)[number];

export interface GpuDevice {
  readonly lost: Promise<{ readonly reason?: string; readonly message: string }>;
  readonly limits: GpuLimits;
  readonly features: ReadonlySetLike;
  readonly queue: GpuQueue;
  createBuffer(d: { readonly size: number; readonly usage: number; readonly label?: string }): GpuBuffer;
  createShaderModule(d: { readonly code: string; readonly label?: string }): GpuModule;
  createBindGroupLayout(d: { readonly entries: Iterable<GpuLayoutEntry> }): GpuHandle;
  createPipelineLayout(d: { readonly bindGroupLayouts: Iterable<GpuHandle> }): GpuHandle;
  createComputePipelineAsync(d: {
    readonly label?: string;
    readonly layout: GpuHandle;
    readonly compute: { readonly module: GpuModule; readonly entryPoint: string };
  }): Promise<GpuHandle>;
  createBindGroup(d: {
    readonly layout: GpuHandle;
    readonly entries: Iterable<{
      readonly binding: number;
      readonly resource: { readonly buffer: GpuBuffer; readonly offset?: number; readonly size?: number };
    }>;
  }): GpuHandle;
  createCommandEncoder(): GpuEncoder;
  createQuerySet(d: { readonly type: "timestamp"; readonly count: number }): GpuHandle & { destroy(): void };
  pushErrorScope(filter: "validation" | "out-of-memory" | "internal"): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  destroy(): void;
}
/** Opaque: a layout, pipeline, bind group or query set. */
export interface GpuHandle {
  label: string;
}
export interface GpuLayoutEntry {
  readonly binding: number;
  readonly visibility: number;
  readonly buffer: { readonly type: "storage" | "read-only-storage" | "uniform"; readonly hasDynamicOffset?: boolean };
}
export interface GpuModule extends GpuHandle {
  getCompilationInfo(): Promise<{
    readonly messages: Iterable<{ readonly type: string; readonly message: string; readonly lineNum: number; readonly linePos: number }>;
  }>;
}
export interface GpuQueue {
  writeBuffer(buffer: GpuBuffer, offset: number, data: ArrayBuffer, dataOffset?: number, size?: number): void;
  submit(commands: Iterable<GpuHandle>): void;
  onSubmittedWorkDone(): Promise<unknown>;
}
export interface GpuBuffer extends GpuHandle {
  mapAsync(mode: number): Promise<unknown>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}
export interface GpuEncoder {
  beginComputePass(d?: {
    readonly timestampWrites?: { readonly querySet: GpuHandle; readonly beginningOfPassWriteIndex: number; readonly endOfPassWriteIndex: number };
  }): GpuPass;
  copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, bytes: number): void;
  resolveQuerySet(set: GpuHandle, first: number, count: number, to: GpuBuffer, offset: number): void;
  finish(): GpuHandle;
}
export interface GpuPass {
  setPipeline(p: GpuHandle): void;
  setBindGroup(index: number, group: GpuHandle, dynamicOffsets?: Iterable<number>): void;
  dispatchWorkgroups(x: number, y: number): void;
  end(): void;
}

/** WebGPU's flags, which are numbers by its standard. */
export const USAGE = { mapRead: 1, copyFrom: 4, copyTo: 8, uniform: 0x40, storage: 0x80, resolve: 0x200 } as const;
export const MAP_READ = 1;
export const COMPUTE_STAGE = 4;

/** The host's own WebGPU: browsers have it, Node has none. */
export const ownGpu = (): Gpu | undefined => (globalThis as { readonly navigator?: { readonly gpu?: Gpu } }).navigator?.gpu;
