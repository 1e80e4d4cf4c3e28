// Keeps the process small: while large bodies stream through, and while there is little to do.
import { setFlagsFromString } from 'node:v8'

/**
 * Flags of V8 as Node 24 has it; others would print a complaint. To be called once everything is loaded: the compiled
 * code that Node and the bundle bring along is refused under other flags, which costs 20 ms at the start.
 */
export function keepMemorySmall(): void {
  if (!process.versions.node.startsWith('24.')) return
  // Each 64 KiB that streams through is a buffer that is dead as soon as it is sent, but V8 only looks when its young
  // generation is full of the small objects around it: with the default of 32 MB a 200 MB upload leaves up to 75 MB of
  // dead buffers lying, with 4 MB about 25 MB (`npm run prove`).
  setFlagsFromString('--scavenger-max-new-space-capacity-mb=4')
  // By default V8 optimizes undici's parser (WebAssembly) after its first answer, which takes 20 MB; with this, after
  // some hundred.
  setFlagsFromString('--wasm-tiering-budget=1000000000')
}
