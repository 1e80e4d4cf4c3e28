// Keeps memory use low while large bodies stream through.

/** Shorter chunks do not accumulate. */
const LEAST_BYTES = 4 * 1024

/**
 * Makes V8 collect the buffers of a body earlier. Their memory is outside V8's heap, so V8 lets 64 MB of unused
 * buffers accumulate before it collects them. It collects its young generation often, and a short-lived string of the
 * same length fills that.
 */
export function hastenCollection(chunk: Buffer): void {
  if (chunk.length >= LEAST_BYTES) chunk.toString('latin1')
}
