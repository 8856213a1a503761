// What a kernel's text may not be named: WGSL's keywords and reserved words, its predeclared types and functions, and what the
// printer itself writes.
import { helpers } from "./helpers.js";

const keywords = `alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop
  override requires return struct switch true var while`;
const reserved = `NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await
  co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit crate
  debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external fallthrough filter
  final finally friend from fxgroup get goto groupshared highp impl implements import inline instanceof interface layout lowp macro
  macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline nointerpolation non_coherent
  noncoherent noperspective null nullptr of operator package packoffset partial pass patch pixelfragment precise precision premerge
  priv protected pub public readonly ref regardless register reinterpret_cast require resource restrict self set shared sizeof smooth
  snorm static static_assert static_cast std subroutine super target template this thread_local throw trait try type typedef typeid
  typename typeof union unless unorm unsafe unsized use using varying virtual volatile wgsl where with writeonly yield`;
const predeclared = `bool f16 f32 i32 u32 vec2 vec3 vec4 array atomic ptr bitcast select abs acos all any asin atan ceil clamp cos cosh cross
  degrees distance dot exp exp2 extractBits faceForward firstLeadingBit floor fma fract frexp insertBits inverseSqrt ldexp length log
  log2 max min mix modf normalize pow quantizeToF16 radians reflect refract reverseBits round saturate sign sin sinh smoothstep sqrt
  step tan tanh transpose trunc atomicAnd atomicOr atomicLoad atomicStore workgroupBarrier storageBarrier workgroupUniformLoad
  subgroupAdd subgroupMax subgroupMin subgroupMul read write read_write storage uniform workgroup private function`;

export const taken: readonly string[] = [
  ...`${keywords} ${reserved} ${predeclared}`.split(/\s+/),
  ...Object.keys(helpers),
  ..."_ __ Ints ints main group groups invocation".split(" "),
];
