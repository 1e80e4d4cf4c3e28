// Keeps the heap small while large bodies stream through.
import { setFlagsFromString } from 'node:v8'

/**
 * Each 64 KiB that streams through is a buffer that is dead as soon as it is sent, but V8 only looks when its young
 * generation is full of the small objects around it: with the default of 32 MB a 200 MB upload leaves up to 75 MB of dead
 * buffers lying, with 4 MB about 25 MB (`npm run prove`). Node 24's V8 knows this flag; others print a complaint.
 */
export function keepYoungGenerationSmall(): void {
  if (process.versions.node.startsWith('24.')) setFlagsFromString('--scavenger-max-new-space-capacity-mb=4')
}
