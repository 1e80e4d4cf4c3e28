// Keeps the process small: while large bodies stream through, under load, and while there is little to do.
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { largeBodies } from '../forward/large-bodies.ts'

/**
 * V8 lets its young generation grow to 128 MB. The requests that the recorder holds live in it: with less than this, they
 * are copied from one half to the other more often than they are worth.
 */
const YOUNG_GENERATION_BYTES = 32 * 1024 * 1024
/** After so many MB of new objects V8 looks which are dead, when it has nothing else to do; its own number is 32. */
const LOOK_AFTER_MB = { usually: 32, forLargeBodies: 4 }
/** By how much what is old may grow until all of it is looked through, in percent of what was alive the last time; 0: as V8 sees fit. */
const OLD_MAY_GROW_PERCENT = { usually: 0, forLargeBodies: 300 }

let isKept = false

/**
 * Flags of V8 as Node 24 has it; others would print a complaint. To be called when everything is loaded, as often as one likes: the compiled
 * code that Node and the bundle bring along is refused under other flags, which costs 20 ms at the start.
 */
export function keepMemorySmall(): void {
  if (isKept || !process.versions.node.startsWith('24.')) return
  isKept = true
  // Each 64 KiB that streams through is a buffer that is dead as soon as it is sent, but few small objects come with it
  // that would make V8 look: a 200 MB upload would leave 80 MB of dead buffers lying. To look so often costs small
  // requests a fifth of the CPU.
  const onChange = (some: boolean) => {
    const kind = some ? 'forLargeBodies' : 'usually'
    setFlagsFromString(`--scavenger-max-new-space-capacity-mb=${LOOK_AFTER_MB[kind]}`)
    // V8 counts the buffers of the young generation as if they were old: with its own limit, once it has set one, it would look
    // through everything for each 16 MB that pass, which doubles what an upload costs.
    setFlagsFromString(`--heap-growing-percent=${OLD_MAY_GROW_PERCENT[kind]}`)
  }
  largeBodies.onChange = onChange
  if (largeBodies.areUnderWay) onChange(true)
  // V8 watches what survives, and where most of it did it makes new objects old ones from the beginning. What it sees after a
  // pause, with a young generation that has yet to grow, makes it do that for good with parts of each request, which hold on
  // to the rest until the next full collection: an eighth of the CPU, in about every second process.
  setFlagsFromString('--no-allocation-site-pretenuring')
  let isHeld = false
  new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    const isGrown = young !== undefined && young.space_size >= YOUNG_GENERATION_BYTES
    if (isGrown === isHeld) return
    isHeld = isGrown
    // V8 makes it small again when there is nothing to do: then it has to be able to grow anew.
    setFlagsFromString(`--semi-space-growth-factor=${isHeld ? 1 : 2}`)
  }).observe({ entryTypes: ['gc'] })
}
