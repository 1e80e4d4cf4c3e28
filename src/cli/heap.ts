// Keeps the process small: while large bodies stream through, under load, and while there is little to do.
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/**
 * V8 lets its young generation grow to 128 MB, of which it gives nothing back. The requests that the recorder holds live
 * in it: with less than this, they are copied from one half to the other more often than they are worth.
 */
const YOUNG_GENERATION_BYTES = 32 * 1024 * 1024

/**
 * Flags of V8 as Node 24 has it; others would print a complaint. To be called once everything is loaded: the compiled
 * code that Node and the bundle bring along is refused under other flags, which costs 20 ms at the start.
 */
export function keepMemorySmall(): void {
  if (!process.versions.node.startsWith('24.')) return
  // By default V8 optimizes undici's parser (WebAssembly) after its first answer, which takes 20 MB; with this, after
  // some hundred.
  setFlagsFromString('--wasm-tiering-budget=1000000000')
  // Each 64 KiB that streams through is a buffer that is dead as soon as it is sent, but V8 only looks when its young
  // generation is full of the small objects around it: by default a 200 MB upload leaves up to 75 MB of dead buffers
  // lying, with this 40 MB (`npm run prove`).
  setFlagsFromString('--scavenger-max-new-space-capacity-mb=4')
  const watch = new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    if (young !== undefined && young.space_size < YOUNG_GENERATION_BYTES) return
    setFlagsFromString('--semi-space-growth-factor=1')
    watch.disconnect()
  })
  watch.observe({ entryTypes: ['gc'] })
}
